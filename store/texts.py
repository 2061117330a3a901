"""Texts as both databases can keep them."""


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot keep and a device may send.

    Example:
        >>> storable("w\\0-1") == "w\ufffd-1"
        True
    """
    return text.replace("\0", "\ufffd")
