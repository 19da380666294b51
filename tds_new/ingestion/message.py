"""A message as the platform sees it.

Beyond the transport nothing knows which client library a message came through.
"""

from datetime import datetime

import msgspec

MAX_KEPT_BYTES = 1_048_576  # of a payload; what comes after it is not kept anywhere


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message from the broker.

    ``received_at`` is the server's clock (aware, UTC). ``connection`` and ``packet_id`` identify the delivery
    that an acknowledgement belongs to; both are 0 for a message that did not come from a broker.
    ``redelivered`` is MQTT's DUP flag: the message may have been stored or rejected before. ``size`` is the
    number of bytes that were sent where ``payload`` is only the beginning of them; else it is 0.
    """

    topic: str
    payload: bytes
    received_at: datetime
    qos: int = 1
    retain: bool = False
    redelivered: bool = False
    packet_id: int = 0
    connection: int = 0
    size: int = 0
