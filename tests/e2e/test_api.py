#!/usr/bin/python3
"""The local interface is what docs/openapi.json says: every path and method of either is
in the other, and every answer has the form that is written there. What monitoring reads is
OpenMetrics, and nothing in it identifies a swarm, a peer or the node itself.

    test_api.py CULVERT ROOT-OF-THE-SOURCE"""
import http.client
import http.server
import json
import pathlib
import re
import socket
import socketserver
import sys
import threading
import unittest
import urllib.parse

import jsonschema
from prometheus_client.openmetrics import parser

import programs
from terminal import Terminal


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("culvert", timeout=programs.SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def connection(case, where):
    """A new one to a unix socket or HOST:PORT, closed after the test."""
    made = (Unix(where) if isinstance(where, pathlib.Path)
            else http.client.HTTPConnection(where, timeout=programs.SECONDS))
    case.addCleanup(made.close)
    return made


class Interface(programs.Case):
    def setUp(self):
        super().setUp()
        self.description = json.loads((ROOT / "docs" / "openapi.json").read_text())
        node = self.start("node", *programs.options(self.folder, "node"), "--direct")
        node.wait_for("page")
        self.page = self.page_of(self.folder / "node")
        self.secrets = [node.wait_for("listening")["address"].split(":")[0]]
        film = self.film(300_000, "secret-film.bin")
        share = self.start("share", "--state", self.folder / "node", "--network", "e2e",
                           "--direct", "--json", film).wait_for("shared")
        self.start("get", *programs.options(self.folder, "viewer"), "--direct", "--peer",
                   share["address"], "-o", self.folder / "copy", share["uri"]).wait_for("complete")
        self.live = self.start("live", "--state", self.folder / "node", "--network", "e2e",
                               "--direct", "--json", film).wait_for("live")
        self.start("live", "--state", self.folder / "node", "--network", "e2e", "--direct", "--key",
                   self.folder / "camera.pem", "--json", "camera:").wait_for("live")
        self.secrets += [share["root_hash"], share["uri"], "secret-film", "e2e"]

    def operations(self):
        for path, item in self.description["paths"].items():
            for method, operation in item.items():
                yield path, method.upper(), operation

    def request(self, to, path, method, operation, **headers):
        query = {p["name"]: p["example"] for p in operation.get("parameters", [])}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        body = operation.get("requestBody")
        if body:
            (kind, content), = body["content"].items()
            body = json.dumps(content["example"]) if kind == "application/json" else content["example"]
        to.request(method, path, body, headers)
        return to.getresponse()

    def ticket(self, socket_path):
        """What takes a token, once."""
        to = connection(self, socket_path)
        to.request("POST", "/api/tickets")
        link = json.loads(to.getresponse().read())["page"]
        self.assertNotIn("#t=", link)
        return {"Authorization": "Ticket " + link.split("#k=")[1]}

    def check(self, operation, answer):
        """The answer of a request that is right."""
        self.assertEqual(answer.status, 200)
        content = operation["responses"]["200"]["content"]
        kind = answer.headers["Content-Type"].split(";")[0]
        self.assertIn(kind, content)
        if kind == "application/json":
            schema = {**content[kind]["schema"], "components": self.description["components"]}
            value = json.loads(answer.read())
            jsonschema.Draft202012Validator(schema).validate(value)
            if schema.get("type") == "array" and "items" in schema:
                return value
        return None

    def test_every_path_is_described_and_every_description_is_true(self):
        routes = set(re.findall(r'\{EVHTTP_REQ_([A-Z]+), "([^"]+)"',
                                (ROOT / "src" / "gateway" / "api.c").read_text()))
        self.assertEqual(routes, {(method, path) for path, method, _ in self.operations()})
        self.assertGreaterEqual(len(routes), 9)
        host = urllib.parse.urlsplit(self.page).netloc
        path_of_socket = self.folder / "node" / "api.sock"
        token = {"Authorization": "Bearer " + self.page.split("#t=")[1]}
        for path, method, operation in self.operations():
            with self.subTest(path):
                for where, headers in ((path_of_socket, {}), (host, token)):
                    if path == "/api/token":
                        headers = self.ticket(path_of_socket)
                    answer = self.request(connection(self, where), path, method, operation,
                                          **headers)
                    rows = self.check(operation, answer)
                    self.assertTrue(path != "/api/swarms" or len(rows) == 3)
                    answer.close()
                answer = self.request(connection(self, host), path, method, operation)
                self.assertEqual(answer.status, 401)
                answer.close()
                for other in ("GET", "POST", "DELETE"):
                    if (other, path) not in routes:
                        self.refused(connection(self, path_of_socket), other, path, 405)
        self.refused(connection(self, host), "GET", "/api/nothing", 404, token)
        self.refused(connection(self, host), "POST", "/api/tasks", 400, token)
        self.tickets()

    def test_who_comes_back_hears_the_whole_state_first(self):
        """Also when nothing changed meanwhile, and whatever event it says it heard last."""
        whole = {"status", "swarms", "peers"}
        for last in (None, "0", "999999", "nonsense"):
            to = connection(self, self.folder / "node" / "api.sock")
            to.request("GET", "/api/events", headers={"Last-Event-ID": last} if last else {})
            answer = to.getresponse()
            self.assertEqual(answer.readline(), b"event: state\n")  # no id
            kind, _, state = answer.readline().partition(b" ")
            self.assertEqual((kind, answer.readline()), (b"data:", b"\n"))
            state = json.loads(state)
            self.assertLessEqual(whole, set(state))
            self.assertEqual(len(state["swarms"]), 3)
            to.close()

    def refused(self, to, method, path, status, headers=None):
        """By an answer of the form that is described, with the headers of every answer."""
        to.request(method, path, headers=headers or {})
        answer = to.getresponse()
        self.assertEqual(answer.status, status, (method, path))
        error = self.description["components"]["responses"]["Error"]["content"]
        jsonschema.validate(json.loads(answer.read()), error["application/json"]["schema"])
        if headers:
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")

    def tickets(self):
        """Each is taken once, by nobody from elsewhere, and is no token itself."""
        host = urllib.parse.urlsplit(self.page).netloc
        right = self.ticket(self.folder / "node" / "api.sock")
        for headers, status in (({**right, "Host": "evil.example"}, 421),
                                ({**right, "Origin": "http://evil.example"}, 403),
                                ({"Authorization": "Ticket " + "0" * 32}, 401),
                                ({"Authorization": "Ticket "}, 401),
                                ({"Authorization": right["Authorization"][:-1]}, 401),
                                ({"Authorization": right["Authorization"].replace("Ticket", "Bearer")},
                                 401)):
            to = connection(self, host)
            to.request("POST", "/api/token", headers=headers)
            self.assertEqual(to.getresponse().status, status, headers)
        to = connection(self, host)
        to.request("POST", "/api/token", headers=right)
        answer = to.getresponse()
        self.assertEqual(answer.headers["Cache-Control"], "private, no-store")
        self.assertEqual(json.loads(answer.read()), {"token": self.page.split("#t=")[1]})
        self.refused(connection(self, host), "POST", "/api/token", 401, right)
        right = self.ticket(self.folder / "node" / "api.sock")
        to = connection(self, host)
        to.request("GET", "/api/status", headers=right)
        self.assertEqual(to.getresponse().status, 401)

    def metrics(self, name):
        to = connection(self, self.folder / name / "api.sock")
        to.request("GET", "/metrics")
        return to.getresponse().read().decode()

    def test_metrics_identify_nobody(self):
        text = self.metrics("node")
        families = {f.name: f for f in parser.text_string_to_metric_families(text)}
        self.assertEqual(families["culvert_swarms"].samples[0].value, 3)
        self.assertGreater(families["culvert_datagrams"].samples[0].value +
                           families["culvert_datagrams"].samples[-1].value, 0)
        allowed = {"socket": {"main", "own", "direct"}, "direction": {"in", "out"}}
        for family in families.values():
            self.assertTrue(family.documentation)
            for sample in family.samples:
                for label, value in sample.labels.items():
                    self.assertIn(value, allowed.get(label, ()), sample)
        # Neither what is known to be secret, nor anything of the form of it.
        for secret in self.secrets:
            self.assertNotIn(secret, text)
        for line in text.splitlines():
            name = re.sub(r"culvert_\w+", "", line) if line.startswith("#") else line
            self.assertNotRegex(name, r"\d+\.\d+\.\d+\.\d+|[0-9a-f]{12}|culvert:|[0-9A-Za-z_-]{40}")
        # The same shape whatever the node does: no row appears for a swarm or a peer.
        empty = self.start("node", *programs.options(self.folder, "empty"), "--direct")
        empty.wait_for("listening")
        shape = [line.split(" ")[0] for line in text.splitlines() if line[0] != "#"]
        self.assertEqual(shape, [line.split(" ")[0] for line in self.metrics("empty").splitlines()
                                 if line[0] != "#"])


class Socket(socketserver.ThreadingUnixStreamServer):
    """A node that says what it is told to."""
    daemon_threads = True

    def __init__(self, path, said):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(said[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

            def address_string(self):
                return "unix"

        super().__init__(str(path), Handler)


class Shown(programs.Case):
    """What a person reads of what a node says: of a state that is hard to bring about."""

    def node(self, answers):
        """The state folder of one that gives these answers."""
        state = pathlib.Path(self.folder / "s")
        state.mkdir(exist_ok=True)
        (state / "api.sock").unlink(missing_ok=True)
        node = Socket(state / "api.sock", answers)
        self.addCleanup(node.server_close)
        threading.Thread(target=node.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(node.shutdown)
        return state

    def valid(self, schema, row):
        description = json.loads((ROOT / "docs" / "openapi.json").read_text())
        jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}",
                                         "components": description["components"]}).validate(row)

    def said(self, verb, schema, row, answers):
        """The lines of `verb` when a node gives these answers, of which `row` must be one."""
        self.valid(schema, row)
        status, out, err = programs.run(verb, "--state", self.node(answers))
        self.assertEqual(status, 0, err)
        return [line.strip() for line in out.splitlines()]

    def status(self, swarm):
        return self.said("status", "Swarm", swarm, {"/api/status": {}, "/api/swarms": [swarm],
                                                    "/api/page": {}})

    def test_a_clock_that_is_off(self):
        for off, want in ((0, []), (86400, ["1 day slow"]), (-3 * 86400, ["3 days fast"])):
            state = self.node({"/api/status": {"clock_off": off}, "/api/swarms": [], "/api/page": {}})
            status, out, err = programs.run("status", "--state", state)
            self.assertEqual(status, 0, err)
            self.assertEqual(re.findall(r"^Clock     (.*), relays say: nothing hidden works until it "
                                        r"is set$", out, re.MULTILINE), want)

    def test_peers(self):
        """Every column of the page's table, and who it is by what is known of it."""
        told = {"swarm": "0a", "name": "film", "direct": False, "open": False, "exit": False,
                "hidden": True, "have": 1 << 20, "hops": 3, "rtt_ms": 77, "rate_down": 5 << 10,
                "received": 6 << 10, "rate_up": 7 << 10, "sent": 8 << 10, "rank": 0,
                "choked": False, "address": None, "path": ["aa", "bb", "cc"]}
        rows = [
            ({}, "hidden, behind cc", "-"),
            ({"rank": 41}, "hidden, behind cc", "41"),
            ({"rank": 41, "choked": True}, "hidden, behind cc", "waits"),
            ({"open": True}, "cc, openly", "-"),
            ({"open": True, "path": []}, "somebody hidden", "-"),
            ({"exit": True}, "through the exit cc", "-"),
            ({"direct": True, "hidden": False, "address": "192.0.2.1:7", "path": []},
             "192.0.2.1:7", "-"),
        ]
        for more, who, rank in rows:
            row = {**told, **more}
            head, line = self.said("peers", "Peer", row, {"/api/peers": [row]})
            self.assertEqual(head.split(), "peer down KiB/s down KiB up KiB/s up KiB hops rtt ms "
                                           "rank".split())
            self.assertEqual(line.split(), [*who.split(), "5", "6", "7", "8", "3", "77", rank])
            self.assertLessEqual(max(len(head), len(line)), 80)

    def test_path(self):
        """What each kind of way looks like, and what is said where there is none."""
        told = {"name": "film", "hidden": True, "open": False, "exit": False,
                "path": ["aa", "bb", "cc"]}
        swarm = {**dict.fromkeys(("direct", "open", "exit", "sharing"), False),
                 **dict.fromkeys(("have", "length", "received", "sent", "rate_down", "rate_up"), 0),
                 "swarm": "0a", "name": "film", "ranges": [], "peers": 1,
                 "stamps": dict.fromkeys(("asked", "came", "refused", "below", "given", "given_of"), 0)}
        theirs = ", the meeting point -> the peer's own hops -> peer"
        rows = [
            ("viewer", {}, "film: we -> aa -> bb -> cc" + theirs),
            ("hidden seeder", {"path": ["aa", "bb", "cc", "dd"]},
             "film: we -> aa -> bb -> cc -> dd" + theirs),
            ("constant rate", {"constant_rate": 4},
             "film: we -> aa -> bb [4 Mbit/s to here] -> cc" + theirs),
            ("open", {"open": True}, "film: we -> aa -> bb -> cc, which shares it openly"),
            ("exit", {"exit": True}, "film: we -> aa -> bb -> cc, which speaks to the peer for us"),
            ("direct", {"hidden": False, "path": []}, "film: we -> peer, DIRECT: hides nothing"),
            ("visitor of ours", {"open": True, "path": []},
             "film: we, who share it openly <- the visitor's own hops <- visitor"),
            ("ending", {"path": []}, "film: we, on a way that just ended"),
        ]
        for what, more, line in rows:
            with self.subTest(what):
                row = {**told, **more}
                said = self.said("path", "Path", row, {"/api/path": [row], "/api/swarms": [swarm]})
                self.assertEqual(said, [line])
        building = {**swarm, "name": "other", "peers": 0}
        self.assertEqual(self.said("path", "Path", told, {"/api/path": [told],
                                                          "/api/swarms": [swarm, building]}),
                         ["film: we -> aa -> bb -> cc" + theirs, "other: no way to anybody yet"])
        self.assertEqual(self.said("path", "Path", told, {"/api/path": [], "/api/swarms": []}),
                         ["Nothing is watched or shared"])

    def test_how_a_swarm_is_hidden(self):
        swarm = {**dict.fromkeys(("direct", "open", "exit", "sharing"), False),
                 **dict.fromkeys(("have", "length", "received", "sent", "rate_down", "rate_up",
                                  "peers"), 0), "swarm": "0a", "name": "film", "ranges": []}
        rows = [({}, "hidden"), ({"sharing": True}, "hidden, sharing"), ({"direct": True}, "DIRECT"),
                ({"exit": True}, "through an exit"),
                ({"open": True}, "from a relay that shares it openly"),
                ({"open": True, "sharing": True}, "openly under this relay's name, sharing")]
        for more, want in rows:
            lines = self.status({**swarm, **more})
            self.assertEqual([line.split("0 peers, ")[1] for line in lines if "film" in line],
                             [want])

    def test_top(self):
        """The same on a full screen: how each swarm is reached, and where each way ends."""
        none = dict.fromkeys(("have", "received", "sent", "rate_down", "rate_up"), 0)
        flags = dict.fromkeys(("direct", "open", "exit"), False)
        rows = [("hid", {}, ["aa", "bb", "cc"], "hidden", "we > aa > bb > cc > ..."),
                ("dir", {"direct": True}, [], "DIRECT", "we > 192.0.2.1:7"),
                ("out", {"exit": True}, ["dd", "ee", "ff"], "exit", "we > dd > ee > ff > peer"),
                ("from", {"open": True}, ["11", "22", "33"], "hidden", "we > 11 > 22 > 33"),
                ("ours", {"open": True, "sharing": True}, [], "OPEN", "we > ...")]
        swarms, peers = [], []
        for name, more, path, _, _ in rows:
            mode = {**flags, **{key: on for key, on in more.items() if key != "sharing"}}
            swarms.append({**none, **mode, "swarm": "0a", "name": name, "length": 0, "peers": 1,
                           "sharing": more.get("sharing", False), "ranges": []})
            peers.append({**none, **mode, "swarm": "0a", "name": name, "choked": False, "rank": 0,
                          "hidden": not mode["direct"], "path": path, "hops": len(path),
                          "rtt_ms": 7, "address": "192.0.2.1:7" if mode["direct"] else None})
            self.valid("Swarm", swarms[-1])
            self.valid("Peer", peers[-1])
        top = Terminal("top", "--state", self.node({"/api/status": {}, "/api/swarms": swarms,
                                                    "/api/peers": peers}), rows=40, columns=120)
        for name, _, _, how, way in rows:
            top.wait_for(way)
            self.assertRegex(top.text, rf"\b{name}\s+{how}\s")
        self.assertNotIn("33 >", top.text)
        self.assertEqual(top.end(b"q"), 0)

    def test_standing(self):
        """What was given and taken and where that leaves us, in two lines (all of them:
        src/cli/tests/test_standing.c), and the same for programs."""
        own = {"given": 0, "taken": 2 << 20, "stands": "new", "tokens": 12, "account": False}
        ledger = {"pending": 1 << 20, "given": 1 << 27, "taken": 1 << 26, "rows": 3, "stopped": "no"}
        told = {"own": own, "ledger": ledger}
        lines = self.said("status", "Status/properties/own", own,
                          {"/api/status": told, "/api/swarms": [], "/api/page": {}})
        self.assertEqual([line for line in lines if line.startswith(("Given", "Stands"))], [
            "Given     nothing and taken 2.0 MiB by our own circuits since the start; as a relay "
            "given 128 MiB and taken 64 MiB in all, 1.0 MiB more to be agreed",
            "Stands    with first hops as anybody new: the circuits of a relay name nobody, only "
            "tokens put them first; 12 tokens left"])
        status, out, err = programs.run("status", "--json", "--state", self.folder / "s")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out), {**told, "swarms": []})
        # Why: what the ledger says, or, of who is no relay, what is kept of our own account.
        row = {"day": "2026-11-03", "about": "own", "cause": 1, "because": "it gives at least what it "
               "takes", "was": "new", "became": "giver", "given": 4 << 20, "taken": 0}
        self.valid("Ledger", {"rows": [row], "relays": []})
        own = {"given": 5 << 20, "taken": 0, "stands": "giver", "tokens": 0, "account": True,
               "since": "2026-11-03"}
        self.valid("Status/properties/own", own)
        state = self.node({"/api/status": {"own": own}, "/api/swarms": [], "/api/page": {},
                           "/api/ledger": {"rows": [row], "relays": []}})
        status, out, err = programs.run("status", "--why", "--json", "--state", state)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out), {"own": own, "swarms": [], "why": [row]})
        status, out, err = programs.run("status", "--why", "--state", state)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("2026-11-03 our account: new -> giver, it gives at least what it takes (given "
                      "4.0 MiB, taken less than 1 MiB)\n", out)

    def test_work(self):
        none = dict.fromkeys(("asked", "came", "refused", "below", "given", "given_of"), 0)
        asks = ("asks visitors for 12 bits of work; of 40 who came 31 were refused, "
                "29 for too little work")
        works = "worked for 3 introductions, for the last 17 bits"
        rows = [({}, []), ({"came": 5}, []), ({"given": 3, "given_of": 17}, [works]),
                ({"asked": 12, "came": 40, "refused": 31, "below": 29}, [asks])]
        for stamps, want in rows:
            swarm = {**dict.fromkeys(("direct", "open", "exit", "sharing"), False),
                     **dict.fromkeys(("have", "length", "received", "sent", "rate_down", "rate_up",
                                      "peers"), 0),
                     "swarm": "0a", "name": "film", "ranges": [], "stamps": {**none, **stamps}}
            lines = self.status(swarm)
            self.assertEqual([line for line in lines if "work" in line], want)


if __name__ == "__main__":
    ROOT = pathlib.Path(sys.argv.pop(2)).resolve()
    programs.main()
