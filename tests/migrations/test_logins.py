"""The change from django-axes to counters of our own keeps what people rely on, and leaves nothing behind."""

import pytest

from tests.migrations.conftest import OwnDatabases

pytestmark = pytest.mark.once
BEFORE, AFTER = ("tds_new", "0017_mensagem_grande"), ("tds_new", "0018_entrada")

# As far as the migration reads it.
AXES = """
CREATE TABLE axes_accesslog (id bigint, username varchar(255), ip_address inet, attempt_time timestamptz);
CREATE TABLE axes_accessattempt (id bigint);
CREATE TABLE axes_accessattemptexpiration (id bigint);
CREATE TABLE axes_accessfailurelog (id bigint);
INSERT INTO django_migrations (app, name, applied) VALUES ('axes', '0001_initial', now());
INSERT INTO django_content_type (id, app_label, model) VALUES (901, 'axes', 'accesslog');
INSERT INTO auth_permission (id, name, content_type_id, codename) VALUES (902, 'x', 901, 'view_accesslog');
INSERT INTO auth_group (id, name) VALUES (903, 'staff');
INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (903, 902);
INSERT INTO tds_new_user (id, email, password, is_superuser)
    SELECT *, '', false FROM (VALUES
    (1, 'ana@example.com'), (2, 'bia@example.com'), (3, '\uff42ia@example.com'),
    (4, 'caf\u0065\u0301@example.com')) people;
INSERT INTO tds_new_user_user_permissions (user_id, permission_id) VALUES (1, 902);
INSERT INTO django_admin_log (action_time, object_repr, action_flag, change_message, content_type_id, user_id)
    VALUES (now(), 'x', 1, '', 901, 1);
INSERT INTO axes_accesslog VALUES
    (1, 'Ana@example.com', '203.0.113.7', now() - INTERVAL '3 days'),
    (2, 'ana@example.com', '203.0.113.7', now() - INTERVAL '2 days'),
    (3, 'ana@example.com', '2001:db8:1:2:3::4', now() - INTERVAL '29 days'),
    (4, 'ana@example.com', '198.51.100.1', now() - INTERVAL '31 days'),
    (5, 'nobody@example.com', '198.51.100.1', now()),
    (6, 'ana@example.com', NULL, now());
"""
KNOWN = """
SELECT usuario_id, rede, extract(day FROM now() - ultima_em) FROM tds_new_rede_conhecida ORDER BY rede
"""
LEFT = """
SELECT count(*) FROM (
    SELECT 1 FROM pg_class WHERE relname LIKE 'axes%'
    UNION ALL SELECT 1 FROM django_migrations WHERE app = 'axes'
    UNION ALL SELECT 1 FROM django_content_type WHERE app_label = 'axes'
    UNION ALL SELECT 1 FROM auth_permission WHERE id = 902
    UNION ALL SELECT 1 FROM auth_group_permissions
    UNION ALL SELECT 1 FROM tds_new_user_user_permissions
    UNION ALL SELECT 1 FROM django_admin_log WHERE content_type_id IS NOT NULL) anything
"""


def test_networks_of_the_last_thirty_days_are_known_and_nothing_of_axes_stays(
    own_databases: OwnDatabases,
) -> None:
    name = own_databases.create()
    for app in ("auth", "admin", "contenttypes", "sessions"):
        own_databases.migrate(name, app)
    own_databases.migrate(name, *BEFORE)
    with own_databases.connect(name) as connection:
        connection.execute(AXES)
        own_databases.migrate(name, *AFTER)
        known = connection.execute(KNOWN).fetchall()
        assert known == [(1, "2001:db8:1:2::/64", 29), (1, "203.0.113.7/32", 2)]
        assert connection.execute(LEFT).fetchone() == (0,)
        emails = connection.execute("SELECT email FROM tds_new_user ORDER BY id").fetchall()
        assert [email for (email,) in emails] == [
            *("ana@example.com", "bia@example.com"),
            "\uff42ia@example.com",  # somebody has its canonical form
            "caf\u00e9@example.com",
        ]
        own_databases.migrate(name, *BEFORE)
        own_databases.migrate(name, *AFTER)
