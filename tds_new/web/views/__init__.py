"""Answer the addresses of the web: a module for each screen."""
