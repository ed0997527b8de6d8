"""The page is shown under the server's own names; the API answers under any."""

import http.client
import json

import pytest

from tfembed.serving import LocalServer
from tfembed.serving.hosts import AllowedHosts

PAGE = [
    "/",
    "/page/page.js",
    "/page/page.css",
    "/page/icon.svg",
    "/page/models.json",
    "/page/picture?name=model&id=a",
    "/card.json?name=model",
]
API = [
    "/v1/models/model",
    "/v1/models/model/metadata",
    "/monitoring/prometheus/metrics",
]
OWN = ["localhost", "127.0.0.1", "[::1]"]


def _ask(server, path, host):
    """Returns status and body of a request that has this header Host, or none."""
    address, _, port = server.rest_address.partition("//")[2].rpartition(":")
    connection = http.client.HTTPConnection(address.strip("[]"), int(port), timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for each in [host] if isinstance(host, str) else host:
            connection.putheader("Host", each)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", PAGE)
def test_another_name_is_refused_on_every_route_of_the_page(server, path):
    status, _ = _ask(server, path, "localhost")
    assert status in (200, 404)  # there are no pictures and no card
    for host in ("evil.example", "evil.example:8501", "localhost.evil.example", ()):
        status, body = _ask(server, path, host)
        assert status == 403
        said = json.loads(body)["error"]
        assert "--allowed-host NAME" in said and "such as localhost" in said
        assert (f"{host!r}" if host else "none") in said


@pytest.mark.parametrize("path", API)
def test_what_tf_serving_answers_is_answered_under_any_name(server, path):
    for host in ("evil.example", "localhost", ()):
        assert _ask(server, path, host)[0] == 200


def test_two_names_are_none(server):
    assert _ask(server, "/", ["localhost", "evil.example"])[0] == 403


def test_a_server_for_other_machines(model_dir):
    with LocalServer(
        model_dir, host="0.0.0.0", port=0, rest_port=0, allowed_hosts=["Box.example"]
    ) as server:
        for host in (*OWN, "192.0.2.7", "[2001:db8::7]:80", "BOX.example.:8501"):
            assert _ask(server, "/", host)[0] == 200, host
        for host in ("example", "other.example", "192.0.2.7.example"):
            assert _ask(server, "/", host)[0] == 403, host


def test_a_name_that_is_bound_to_is_its_address_too(model_dir):
    with LocalServer(model_dir, host="localhost", port=0, rest_port=0) as server:
        for host in ("localhost", "127.0.0.1", "LOCALHOST.:1"):
            assert _ask(server, "/page/models.json", host)[0] == 200


@pytest.mark.parametrize(
    ("bound", "header", "allowed"),
    [
        *[("127.0.0.1", host, True) for host in OWN],
        *[("127.0.0.1", f"{host}:8501", True) for host in OWN],
        ("127.0.0.1", "LocalHost", True),
        ("127.0.0.1", "localhost.", True),
        ("127.0.0.1", "localhost.:80", True),
        ("127.0.0.1", "localhost:", True),
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "[0:0:0:0:0:0:0:1]", True),
        ("127.0.0.1", "[::ffff:127.0.0.1]", True),
        ("127.0.0.1", "localhost..", False),
        ("127.0.0.1", "localhost:99999", False),
        ("127.0.0.1", "localhost:80:80", False),
        ("127.0.0.1", "localhost:port", False),
        ("127.0.0.1", "localhost/", False),
        ("127.0.0.1", "user@localhost", False),
        ("127.0.0.1", " localhost", False),
        ("127.0.0.1", "localhost, evil.example", False),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "[localhost]", False),
        ("127.0.0.1", "[::1].evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "0.0.0.0", False),
        ("127.0.0.1", "192.0.2.7", False),
        ("127.0.0.1", "[2001:db8::7]", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", ":80", False),
        ("127.0.0.1", ".", False),
        ("127.0.0.1", None, False),
        ("192.0.2.7", "192.0.2.7:80", True),
        ("192.0.2.7", "[::ffff:192.0.2.7]", True),
        ("192.0.2.7", "localhost", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::7", "[2001:DB8:0::7]:80", True),
        ("2001:db8::7", "[2001:db8::8]", False),
        ("fe80::1", "[fe80::1%25eth0]:80", True),
        ("box.example", "box.example", True),
        ("box.example", "Box.Example.:80", True),
        ("box.example", "example", False),
        ("b\u00fccher.example", "xn--bcher-kva.example", True),
        *[(each, "192.0.2.7", True) for each in ("0.0.0.0", "::", "")],
        *[(each, "[2001:db8::7]", True) for each in ("0.0.0.0", "::", "")],
        *[(each, "evil.example", False) for each in ("0.0.0.0", "::", "")],
    ],
)
def test_names(bound, header, allowed):
    assert AllowedHosts(bound).allows(header) is allowed


def test_further_names():
    hosts = AllowedHosts("127.0.0.1", ["box.example", "192.0.2.7", "Other."])
    for header in ("box.example:1", "192.0.2.7", "other", "localhost"):
        assert hosts.allows(header)
    assert not hosts.allows("box")


@pytest.mark.parametrize(
    "name", ["", "http://a", "a:80", "a/b", "a b", "*/", 3, "[::1]:8"]
)
def test_a_further_name_that_is_none(model_dir, name):
    with pytest.raises(ValueError, match="`allowed_hosts` must be names or addresses"):
        LocalServer(model_dir, allowed_hosts=[name])
