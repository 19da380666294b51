"""Views, a module per screen."""
