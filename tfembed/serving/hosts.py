"""Under which names the local server's page is shown.

A page of the web can have its own name lead to 127.0.0.1 once it is loaded (DNS
rebinding): to the browser this server is then that page's own, and what it answers may
be read there. Nothing but the name that is asked for, the header Host, tells.
"""

import ipaddress
import re

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)(?:%[^\[\]:\s]*)?\]|(?P<name>[^\[\]:/@?#,\s]+))"
    r"(?::(?P<port>\d{0,5}))?"
)


class AllowedHosts:
    """The names that a request may ask for.

    These are the names of this machine for itself (`localhost`, 127.0.0.1, ::1, ...),
    the address that the server is bound to, and others if wished. A server that is
    bound to all addresses takes any address in digits: what rebinding needs is a name.

    Args:
        bound: The address, or the name, that the server is bound to.
        others: More names or addresses.

    Raises:
        ValueError: If one of the others is no name and no address.
    """

    def __init__(self, bound, others=()):
        self._addresses, self._names = set(), {"localhost"}
        address = _address(bound)
        self._any_address = not bound or (
            address is not None and address.is_unspecified
        )
        self.add(bound)
        for name in others:
            if not isinstance(name, str) or "*" in name or _split(name) != (name, None):
                raise ValueError(
                    "`allowed_hosts` must be names or addresses, without scheme and "
                    f"port. Received: {name!r}. Give what stands between http:// and "
                    "the port in the browser."
                )
            self.add(name)

    def add(self, name):
        """Allows a name or an address."""
        address = _address(name)
        if address is None:
            self._names.add(_plain(name))
        else:
            self._addresses.add(address)

    def allows(self, header):
        """Whether a request may be answered, by its header Host (None without one)."""
        name, _ = _split(header or "")
        if name is None:
            return False
        address = _address(name)
        if address is None:
            return _plain(name) in self._names
        known = address.is_loopback or address in self._addresses
        return known or self._any_address


def _split(header):
    """Returns name and port of a header Host; `(None, None)` if it is none."""
    match = _HOST.fullmatch(header)
    if not match or int(match["port"] or 0) > 65535:
        return None, None
    return match["six"] or match["name"], match["port"]


def _address(name):
    """Returns an address in digits, None for a name."""
    try:
        address = ipaddress.ip_address(_plain(name).strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _plain(name):
    """Returns the one form of a name, which has neither capitals nor a last dot."""
    name = name.removesuffix(".").lower()
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
