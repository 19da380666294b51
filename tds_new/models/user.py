"""The people who log in, with an e-mail address."""

import unicodedata
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _


def canonical_email(email: str) -> str:
    """Return an address in the one form in which it is stored, looked up and counted.

    Full-width letters and the like become plain ones, blanks around the address go, and the rest is in lower
    case. Applying it again changes nothing.
    """
    lowered = unicodedata.normalize("NFKC", email).strip().lower()
    return unicodedata.normalize("NFKC", lowered).strip()


class UserManager(BaseUserManager["User"]):
    """Creates people; addresses are kept in their canonical form."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person without staff rights. Raises ValueError without an address."""
        if not email:
            raise ValueError("an e-mail address is needed")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person with every staff right."""
        return self.create_user(email, password, **{**fields, "is_staff": True, "is_superuser": True})

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the person with this address, however it is spelled."""
        return self.get(email=canonical_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """A person.

    What they may see follows from their memberships; ``is_staff`` opens the operator's admin only.
    """

    email = models.EmailField(_("e-mail"), max_length=254, unique=True)
    name = models.CharField(_("nome"), max_length=150, blank=True, default="", db_default="")
    is_staff = models.BooleanField(_("equipe de operação"), default=False, db_default=False)
    is_active = models.BooleanField(_("ativo"), default=True, db_default=True)
    date_joined = models.DateTimeField(_("criado em"), default=now, db_default=Now())

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "tds_new_user"
        verbose_name = _("usuário")
        verbose_name_plural = _("usuários")
        constraints = [models.UniqueConstraint(Lower("email"), name="tds_new_user_email_ci")]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the address in its canonical form: unique as people understand it."""
        self.email = canonical_email(self.email)
        super().save(*args, **kwargs)

    def get_full_name(self) -> str:
        """Return the name, or the address if no name is known."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return the first name, or the part of the address before the @."""
        return self.name.split(" ")[0] if self.name else self.email.split("@")[0]
