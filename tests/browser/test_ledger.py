#!/usr/bin/python3
"""The page that `culvert-ledger html` writes, in a browser without a network: what it shows is what
the other commands say, it asks nobody for anything, and can be used by everybody.

    test_ledger.py CULVERT-LEDGER PACKAGES PICTURES [Page | Many]
"""
import csv
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from webdriver import Browser  # noqa: E402

TAB, ENTER, HOME, RIGHT = "\ue004", "\ue007", "\ue011", "\ue014"
WEEK = 7 * 86400
FIRST = 1_700_000_000 // WEEK
# What a name must not do: end the script or a tag, quote, turn the line around, be a property
# that every object has, or be too long for a telephone.
HOSTILE = ["</script><script>document.title='pwned'</script>",
           "\"><img src=x onerror=\"document.title='pwned'\">", "'\"`${document.title='pwned'}",
           "__proto__", "constructor", "W" * 255, "مرحبا بالعالم", "\u202etxt.exe\u202d",
           "a\u2028b", "👩‍👩‍👧" * 9, "&amp;&lt;", " "]


# By itself: where a browser reads this, it overlooks the next end of a script.
COMMENT = ["<!--<script>"]


def village():
    """Eight relays over twelve weeks: who gave whom how much in which."""
    dice = random.Random(1)
    names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]
    return [(*dice.sample(names, 2), dice.randrange(1, 10**9), FIRST + week)
            for week in range(12) for _ in range(8)]


def tree(relays):
    """Every relay but the first gave something to one that came before it."""
    dice = random.Random(2)
    return [(f"r{i}", f"r{min(dice.randrange(i), dice.randrange(i))}", dice.randrange(1, 10**9),
             FIRST + i % 4) for i in range(1, relays)]


def numbers(text):
    """What is counted in it, with its unit, in order."""
    return re.findall(r"\d[\d.]*(?: (?:%|[KMGTPE]?i?B\b))?", text)


class Opened(unittest.TestCase):
    """One window for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.browser = Browser(requests=True)
        cls.browser.devtools("Network.enable")
        cls.browser.devtools("Network.emulateNetworkConditions", offline=True, latency=0,
                             downloadThroughput=0, uploadThroughput=0)
        cls.axe = (PACKAGES / "axe-core" / "axe.min.js").read_text()

    def setUp(self):
        self.asked = set()
        self.addCleanup(self.innocent)
        self.browser.log()
        self.browser.requests()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        cls.folder.cleanup()

    def ledger(self, name, rows):
        db, path = (pathlib.Path(self.folder.name) / f"{name}.{kind}" for kind in ("db", "csv"))
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows((a, b, n, week * WEEK) for a, b, n, week in rows)
        self.tool(db, "import", "--csv", path)
        return db

    def tool(self, db, *args):
        done = subprocess.run([LEDGER, "--db", db, *args], check=False, capture_output=True,
                              text=True, encoding="utf-8")
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        return done.stdout

    def value(self, db, *args):
        return json.loads(self.tool(db, "--json", *args))

    def open(self, db, width=1200, height=1000, scheme="light"):
        """The page, as on a screen of this size."""
        page = pathlib.Path(self.folder.name) / f"{db.stem}.html"
        self.tool(db, "html", "-o", page)
        self.screen(width, height, scheme)
        self.asked.add(page.as_uri())
        self.browser.go(page.as_uri())
        return page

    def screen(self, width, height=1000, scheme="light"):
        self.browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                              deviceScaleFactor=1, mobile=False)
        self.browser.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def innocent(self):
        """Pages were asked for, and nothing else; nothing complained."""
        self.assertEqual(set(self.browser.requests()), self.asked)
        self.assertEqual(self.browser.log(), [])

    def texts(self, css):
        return self.browser.run("return [...document.querySelectorAll(arguments[0])]"
                                ".map((e) => e.textContent);", css)

    def accessible(self, what):
        found = self.browser.run(
            self.axe + "; const r = await axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', "
            "'wcag21aa', 'wcag22aa', 'best-practice']});"
            "return r.violations.map((v) => v.id + ': ' + v.nodes[0].html);")
        self.assertEqual(found, [], what)

    def fits(self, what):
        """Nothing is wider than the window, so nobody has to scroll sideways."""
        wide = self.browser.run("return [document.documentElement.scrollWidth, innerWidth];")
        self.assertLessEqual(*wide, what)

    def choose(self, name):
        self.browser.run("[...document.querySelectorAll('#relays button')].find((b) =>"
                         " b.querySelector('bdi').title === arguments[0]).click();", name)

    def charts(self, db):
        stats, peers = self.value(db, "stats"), self.value(db, "peers")
        about, = self.texts("#about")
        size = self.browser.run("return size(arguments[0]);", stats["octets"])
        self.assertEqual(numbers(about)[:5], [str(stats["relays"]), str(stats["half_blocks"]),
                                              str(stats["rows"]), size, str(stats["forks"])])
        octets = sorted(p["given"] + p["taken"] for p in peers)
        n, total = len(octets), sum(octets)
        gini = sum((2 * i + 1 - n) * x for i, x in enumerate(octets)) / (n * total)
        self.assertIn(f": {gini:.3f} (", self.texts("#gini")[0])
        curve = self.browser.run("return [...document.querySelector('#lorenz polyline').points]"
                                 ".map((p) => [p.x, p.y]);")
        points = len(curve) - 1
        for k, (x, y) in enumerate(curve):
            self.assertAlmostEqual(x, 10 + 380 * k / points, places=2)
            self.assertAlmostEqual(y, 190 - 180 * sum(octets[:k * n // points]) / total, places=2)
        near = {}
        for row in self.value(db, "export", "--format", "json")["rows"]:
            for a, b in ((row["giver"], row["taker"]), (row["taker"], row["giver"])):
                near.setdefault(a, set()).add(b)
        bins = {}
        for others in near.values():
            bin_ = len(others).bit_length()
            bins[bin_] = bins.get(bin_, 0) + 1
        bars = [int(text) for text in self.texts("#degrees text")[1::2]]
        self.assertEqual(bars, [bins.get(i, 0) for i in range(max(bins) + 1)])
        self.assertEqual(sum(bars), stats["relays"])
        hops, = {text for text in self.texts("#coverage tr:first-child td:last-child")}
        if n <= 500:
            share = 100 * sum(map(len, near.values())) / (n * (n - 1))
            self.assertAlmostEqual(float(hops.split()[0]), share, delta=.051)


class Page(Opened):
    # ---- what it shows ----

    def graph(self, rows, until):
        """What is drawn is what was carried until then, as the titles of the relays say it."""
        sums, pairs = {}, set()
        for giver, taker, octets, epoch in rows:
            for end in (giver, taker):
                sums.setdefault(end, [0, 0])
            if epoch <= until:
                pairs.add((giver, taker))
                sums[giver][0] += octets
                sums[taker][1] += octets
        drawn = {}
        for title in self.texts("#graph circle title"):
            name, *said = re.fullmatch("\u2068(.*)\u2069: gave (.*), took (.*)", title).groups()
            drawn[name] = said
        shown = self.browser.run("return arguments[0].map(size);",
                                 [n for two in sums.values() for n in two])
        self.assertEqual(drawn, {name: shown[2 * i:2 * i + 2] for i, name in enumerate(sums)})
        self.assertEqual(len(self.texts("#graph line")), len(pairs))
        self.assertEqual(self.texts("#epoch"), [str(until)])

    def test_graph_and_time(self):
        rows = village()
        db = self.ledger("village", rows)
        self.open(db)
        first, last = FIRST, FIRST + 11
        self.graph(rows, last)
        self.browser.picture(f"{PICTURES}/ledger-light.png")
        self.browser.run("document.getElementById('time').focus();")
        self.browser.keys(HOME)
        self.graph(rows, first)
        self.browser.keys(RIGHT * 5)
        self.graph(rows, first + 5)
        # A click on a relay of the picture chooses it, as one in the list does.
        x, y = self.browser.run("const c = document.querySelectorAll('#graph circle')[3]"
                                ".getBoundingClientRect(); return [c.x + c.width / 2, c.y + 2];")
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.devtools("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                                  clickCount=1)
        self.browser.wait("document.querySelector('tr.chosen').dataset.i === '3'")
        self.graph(rows, first + 5)

    def test_explanations(self):
        rows = village()
        db = self.ledger("reasons", rows)
        self.open(db)
        ranked = self.value(db, "rank")
        for relay in ranked:
            self.choose(relay["id"])
            told = self.tool(db, "why", relay["id"]).splitlines()
            said = self.texts("#why p, #why li")
            self.assertEqual(len(told), len(said), told)
            for line, text in zip(told, said):
                self.assertEqual(numbers(line), numbers(text))
            self.assertTrue(said[0].startswith(f"{relay['id']} as "), said)
            for line, text in zip(told[2:], said[2:]):
                self.assertIn(f" via {line.split()[1]},", text)
            gave, took = (sum(r[2] for r in rows if r[end] == relay["id"]) for end in (0, 1))
            shown = self.browser.run("return arguments[0].map(size);", [gave, took])
            self.assertEqual(self.texts("#history text")[:2],
                             [f"given {shown[0]}", f"taken {shown[1]}"])
        listed = self.browser.run("return [...document.querySelectorAll('#relays tr')].map((r) =>"
                                  " [r.cells[0].textContent, r.cells[1].textContent]);")
        self.assertEqual(listed[1:], [[r["id"], f"{r['score']:.6f}"] for r in ranked])
        # Halves of a digit go where culvert-ledger has them go.
        self.assertEqual(self.browser.run("return [1280, 1792, 1229, 5, 3 << 20].map(size);"),
                         ["1.2 KiB", "1.8 KiB", "1.2 KiB", "5 B", "3.0 MiB"])

    def test_charts(self):
        db = self.ledger("charts", village() + tree(40))
        self.open(db)
        self.charts(db)

    # ---- who can use it ----

    def test_by_keyboard(self):
        db = self.ledger("keys", village())
        self.open(db)
        reached, chosen = [], None
        while len(reached) < 30:
            self.browser.keys(TAB)
            reached.append(self.browser.run(
                "const e = document.activeElement; return e === document.body ? null :"
                " [e.id || e.className || e.textContent, getComputedStyle(e).outlineStyle];"))
            if reached[-1] is None:
                break
            if reached[-1][0] == "carol":
                self.browser.keys(ENTER)
                chosen = self.texts("#why bdi")[0]
                self.browser.run("document.activeElement.scrollIntoView();")
        names = [name for name, _ in reached[:-1]]
        self.assertEqual(names[:2], ["time", "scroll"])
        self.assertEqual(sorted(names[2:]), sorted({r[0] for r in village()}))
        self.assertNotIn("none", [outline for _, outline in reached[:-1]])
        self.assertEqual(chosen, "carol")
        self.assertEqual(self.browser.run("return [...document.querySelectorAll("
                                          "'[aria-pressed=true]')].map((b) => b.textContent);"),
                         ["carol"])
        self.accessible("light")

    def test_in_the_dark_on_a_telephone(self):
        db = self.ledger("small", village())
        self.open(db, 360, 740, "dark")
        self.fits("small")
        self.choose("grace")
        self.fits("chosen")
        red, green, blue = (int(c) for c in re.findall(r"\d+", self.browser.run(
            "return getComputedStyle(document.body).backgroundColor;")))
        self.assertLess(max(red, green, blue), 64)
        self.accessible("dark")
        self.screen(360, 2300, "dark")
        self.browser.picture(f"{PICTURES}/ledger-dark.png")

    # ---- what may be in it ----

    def test_with_nothing_in_it(self):
        db = self.ledger("empty", [])
        self.open(db)
        self.assertEqual(self.browser.run("return document.body.innerText.trim();").split("\n")[-1],
                         "Nothing is in this ledger yet.")
        self.accessible("empty")

    def test_hostile_names(self):
        self.hostile("comment", COMMENT)
        self.hostile("hostile", HOSTILE)
        self.choose("W" * 255)
        self.accessible("hostile")
        self.screen(360, 2600)
        self.browser.picture(f"{PICTURES}/ledger-hostile.png")

    def hostile(self, kind, names):
        rows = [(name, "ego", 1000 + i, FIRST) for i, name in enumerate(names)]
        rows += [("ego", name, 7, FIRST + 1) for name in names]
        db = self.ledger(kind, rows)
        known = {peer["id"] for peer in self.value(db, "peers")}
        self.open(db, 360)
        self.assertEqual({*self.browser.run("return [...document.querySelectorAll("
                                            "'#relays button bdi')].map((b) => b.title);")}, known)
        self.assertEqual({title.split("\u2069: gave")[0][1:]
                          for title in self.texts("#graph circle title")}, known)
        self.fits("list")
        for name in known - {"ego"}:
            self.choose(name)
            self.assertEqual(self.texts("#why p bdi")[0], name)
            self.fits(name)
        self.assertEqual(self.browser.run("return document.title;"), "A bandwidth ledger")
        self.assertEqual(self.browser.run("return document.querySelectorAll('img, script').length;"),
                         1)


class Many(Opened):
    def test_five_thousand_relays(self):
        rows = tree(5000)
        db = self.ledger("many", rows)
        page = self.open(db)
        self.assertLess(page.stat().st_size, 1 << 20)
        self.charts(db)
        self.assertEqual(len(self.texts("#relays tr")), 2000)
        self.assertEqual(len(self.texts("#graph circle")), 200)
        self.assertIn("The 2000 with most octets are listed, and 200 of them drawn.",
                      self.texts("#about")[0])
        # Of who is listed also what was carried for those who are not.
        peers = {peer["id"]: peer for peer in self.value(db, "peers")}
        for name in self.browser.run("return [...document.querySelectorAll('#relays bdi')]"
                                     ".slice(0, 5).map((b) => b.title);"):
            self.choose(name)
            want = self.browser.run("return arguments[0].map(size);",
                                    [peers[name]["given"], peers[name]["taken"]])
            self.assertEqual(self.texts("#history text")[:2],
                             [f"given {want[0]}", f"taken {want[1]}"])
        self.browser.picture(f"{PICTURES}/ledger-many.png")


if __name__ == "__main__":
    LEDGER, PACKAGES, PICTURES = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    del sys.argv[1:4]
    PICTURES.mkdir(exist_ok=True)
    if subprocess.run([str(pathlib.Path(__file__).parents[2] / "scripts" / "npm-package"),
                       str(pathlib.Path(__file__).parent / "packages.lock"), str(PACKAGES)],
                      check=False).returncode:
        sys.exit("the browser test's packages could not be fetched")
    unittest.main()
