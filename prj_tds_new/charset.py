"""Every request is UTF-8, whatever it says that it is."""

import re
from collections.abc import Callable, MutableMapping
from typing import Any

CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)
CHARSET_BYTES = re.compile(CHARSET.pattern.encode(), re.IGNORECASE)


def without_charset(web: Callable[..., Any]) -> Callable[..., Any]:
    """Return the WSGI application ``web`` for requests whose charset is dropped.

    Django decodes a query by the charset of the request's content type while it makes its request object, so
    outside of everything that turns errors into answers. With one that is no charset of text, such as
    ``idna``, the server itself had to answer.
    """

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if given := environ.get("CONTENT_TYPE"):
            environ["CONTENT_TYPE"] = CHARSET.sub("", given)
        return web(environ, start_response)

    return application


def without_charset_asgi(web: Callable[..., Any]) -> Callable[..., Any]:
    """Return the ASGI application ``web`` for requests whose charset is dropped."""

    async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [
                (name, CHARSET_BYTES.sub(b"", value) if name == b"content-type" else value)
                for name, value in scope["headers"]
            ]
            scope = {**scope, "headers": headers}
        await web(scope, receive, send)

    return application
