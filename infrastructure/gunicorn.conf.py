"""The web server's process model. WEB_CONCURRENCY sets the number of workers (gunicorn's own variable)."""

import os

workers = int(os.environ.get("WEB_CONCURRENCY", "3"))
worker_class = "gthread"
threads = 4
# A page takes milliseconds; the re-processing of many rejected messages may take longer.
timeout = 120
graceful_timeout = 20
keepalive = 15  # above the proxy's, so that the proxy closes first
# Workers come to a fresh start now and then, not all at once.
max_requests = 20_000
max_requests_jitter = 2_000
# Heartbeats on a disk that stalls would kill workers that are well.
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True
accesslog = None  # the proxy has one
errorlog = "-"
