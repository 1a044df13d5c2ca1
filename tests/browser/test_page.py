#!/usr/bin/python3
"""The page in a real browser, with real programs: a hidden film is opened by its
link, plays, seeks into a part that is not there yet, and every view is looked
at by axe-core.

    test_page.py CULVERT CULVERT-DHT PACKAGES PICTURES [firefox]
"""
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
import bidi  # noqa: E402
import programs  # noqa: E402
from village import Village  # noqa: E402
from webdriver import Browser  # noqa: E402

LANGUAGES = ("en", "de", "es", "fr", "it", "nl")
WEB = pathlib.Path(__file__).parent.parent.parent / "src" / "web"
TAB, ENTER = "\ue004", "\ue007"


def film(path):
    """40 seconds, three megabytes, index in front; moving, so that frames differ."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
                    "testsrc2=size=320x180:rate=25:duration=40", "-f", "lavfi", "-i",
                    "sine=duration=40", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "600k",
                    "-minrate", "600k", "-maxrate", "600k", "-bufsize", "600k", "-x264-params",
                    "nal-hrd=cbr", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags",
                    "+faststart", str(path)], check=True)


def ask(url, **headers):
    """Status and text of an answer, whatever it is."""
    request = urllib.request.Request(url, headers=headers, method=headers.pop("method", "GET"))
    try:
        answer = urllib.request.urlopen(request, timeout=programs.SECONDS)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff", (url, answer.headers)
        return answer.status, answer.read().decode(errors="replace")


class Page(programs.Case):
    def setUp(self):
        super().setUp()
        self.village = Village(self, DHT)
        path = self.folder / "film.mp4"
        film(path)
        self.seeder = self.village.start("share", "seeder", "--upload-limit", "200k", path)
        self.uri = self.seeder.wait_for("shared", 120)["uri"]
        self.node = self.village.start("node", "node")
        self.node.wait_for("page")
        self.page = self.page_of(self.folder / "node")
        self.node.wait_for("client_ready", 120)
        self.axe = (PACKAGES / "axe-core" / "axe.min.js").read_text()

    def accessible(self, browser, what):
        found = browser.run(self.axe + "; const r = await axe.run({runOnly: ['wcag2a', 'wcag2aa', "
                            "'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});"
                            "return r.violations.map((v) => v.id + ': ' + v.nodes[0].html);")
        self.assertEqual(found, [], what)

    def test_a_broadcast(self):
        read, write = os.pipe()
        camera = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i",
             "testsrc2=size=320x180:rate=25", "-c:v", "libx264", "-preset", "ultrafast", "-tune",
             "zerolatency", "-g", "25", "-b:v", "600k", "-pix_fmt", "yuv420p", "-f", "mpegts", "-"],
            stdout=write, stderr=subprocess.DEVNULL)
        self.addCleanup(camera.wait)
        self.addCleanup(camera.kill)
        os.close(write)
        source = programs.Program("live", *self.village.options("source"), "-", stdin=read)
        os.close(read)
        self.running.append(source)
        uri = source.wait_for("live", 120)["uri"]
        with BROWSER() as browser:
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.type("#link", uri + ENTER)
            browser.wait("document.getElementById('video').getVideoPlaybackQuality()"
                         ".totalVideoFrames >= 75", 120)
            browser.wait("document.getElementById('pieces_text').textContent.startsWith('Live')")
            self.accessible(browser, "live")
            browser.picture(f"{PICTURES}/live{OF}.png")
            self.catches_up(browser)
            browser.click("#stop")
            browser.wait("document.getElementById('stage').hidden")
            self.assertEqual(browser.log(), [])
            self.parts(browser, uri)
        self.recordings()

    def catches_up(self, browser):
        """Who is far behind does not play faster for a minute, but jumps to the newest end; and
        nobody is offered to go back, which would be undone at once."""
        behind = "(v => v.buffered.end(v.buffered.length - 1) - v.currentTime)" \
                 "(document.getElementById('video'))"
        self.assertTrue(browser.run("return document.getElementById('seek').disabled;"))
        browser.run("const v = document.getElementById('video'); window.jumps = 0; v.pause();"
                    "v.addEventListener('seeking', () => window.jumps++);")
        browser.wait(f"{behind} > 5")
        browser.run("document.getElementById('video').play();")
        browser.wait(f"window.jumps > 0 && {behind} < 3")

    def parts(self, browser, uri):
        """The same by the player that can go back: it fetches parts, and shows the past."""
        browser.run("const s = document.getElementById('live_player'); s.value = 'parts';"
                    "s.dispatchEvent(new Event('change')); performance.clearResourceTimings();"
                    "document.getElementById('link').value = '';")
        browser.type("#link", uri + ENTER)
        browser.wait("document.getElementById('video').getVideoPlaybackQuality()"
                     ".totalVideoFrames >= 150", 120)
        fetched = browser.run("return performance.getEntriesByType('resource').map((e) => e.name);")
        self.assertTrue(any(re.search(r"/p\d+\.ts\?k=", name) for name in fetched), fetched)
        self.assertTrue(any("_HLS_msn=" in name for name in fetched), fetched)
        # It has a list and is told the end of it alone.
        self.assertTrue(any("_HLS_skip=YES" in name for name in fetched), fetched)
        self.assertFalse(browser.run("return document.getElementById('seek').disabled;"))
        there = browser.wait("document.getElementById('clock').textContent", 60)
        self.assertTrue(there == "Live now" or there.startswith("−"), there)
        browser.wait("(() => { const v = document.getElementById('video');"
                     " return v.seekable.length && v.currentTime - v.seekable.start(0) > 4; })()")
        before = browser.run("const v = document.getElementById('video'); const at = v.currentTime;"
                             "document.getElementById('seek').value = 0;"
                             "document.getElementById('seek').dispatchEvent(new Event('input'));"
                             "return at;")
        browser.wait("!document.getElementById('video').seeking && "
                     "document.getElementById('video').currentTime < arguments[0] - 1 && "
                     "document.getElementById('video').readyState >= 2", 60, before)
        browser.picture(f"{PICTURES}/live_parts{OF}.png")
        browser.click("#stop")

    def test_a_folder_with_subtitles(self):
        folder = self.folder / "series"
        folder.mkdir()
        (folder / "one.mp4").write_bytes((self.folder / "film.mp4").read_bytes())
        (folder / "one.srt").write_text("1\n00:00:00,000 --> 00:00:39,000\nSomebody speaks\n")
        (folder / "notes.txt").write_text("not to be played")
        share = self.village.start("share", "folder", folder)
        uri = share.wait_for("shared", 120)["uri"]
        with BROWSER() as browser:
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.type("#link", uri + ENTER)
            browser.wait("document.getElementById('video').readyState >= 2", 120)
            self.assertEqual(browser.run("return [...document.getElementById('files').options]"
                                         ".map((o) => o.text);"), ["one.mp4"])
            browser.wait("document.getElementById('video').textTracks[0]?.cues?.length === 1", 120)
            self.assertEqual(browser.run("return document.getElementById('video').textTracks[0]"
                                         ".cues[0].text;"), "Somebody speaks")
            self.accessible(browser, "folder")
            browser.picture(f"{PICTURES}/folder{OF}.png")
            self.assertEqual(browser.log(), [])

    def test_the_seeder_leaves(self):
        """Where the picture stands still, it says that nobody is left who could give the rest."""
        with BROWSER() as browser:
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.type("#link", self.uri + ENTER)
            browser.wait("document.getElementById('video').readyState >= 2", 120)
            self.seeder.end()
            self.running.remove(self.seeder)
            browser.run("document.getElementById('video').currentTime = 25;")
            browser.wait("document.getElementById('stall').textContent.startsWith('Nobody shares')"
                         " && !document.getElementById('stall').hidden", 120)
            self.accessible(browser, "nobody")
            browser.picture(f"{PICTURES}/nobody{OF}.png")

    def opened_by_play(self):
        """The link that `play` gives to the browser of this desktop."""
        desktop = self.folder / "desktop"
        desktop.mkdir()
        (desktop / "xdg-open").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {desktop}/new\n'
                                          f"mv {desktop}/new {desktop}/link\n")
        (desktop / "xdg-open").chmod(0o755)
        env = dict(os.environ, PATH=f"{desktop}:{os.environ['PATH']}")
        play = programs.Program("play", "--state", self.folder / "node", "--network", "village",
                                "--player", "browser", "--json", self.uri, env=env)
        self.running.append(play)
        play.wait_for("link", 120)
        limit = time.monotonic() + programs.SECONDS
        while not (desktop / "link").exists():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.1)
        link, = (desktop / "link").read_text().splitlines()
        # It has no right that lasts, and nothing of it was printed.
        token = (self.folder / "node" / "token").read_text()
        self.assertNotIn(token, link)
        ticket = re.fullmatch(r"http://127\.0\.0\.1:\d+/#k=([0-9a-f]{32})&watch=[0-9A-Za-z%]+",
                              link)[1]
        self.assertNotIn(ticket, json.dumps([play.events, self.node.events]))
        return play, link, ticket

    def play_opens(self):
        """`play` with the browser: the page comes up with the film playing; its link is worth
        nothing to whoever reads it afterwards, and one that somebody else made plays nothing."""
        play, link, ticket = self.opened_by_play()
        address, _ = link.split("#")
        for status, headers in ((421, {"Host": "evil.example"}), (403, {"Origin": "http://evil"}),
                                (403, {"Sec-Fetch-Site": "cross-site"})):
            got, _ = ask(address + "api/token", method="POST", Authorization=f"Ticket {ticket}",
                         **headers)
            self.assertEqual(got, status, headers)
        self.assertEqual(ask(address + "api/token", Authorization=f"Ticket {ticket}")[0], 405)
        self.assertEqual(ask(address + "api/tickets", method="POST")[0], 401)
        with BROWSER() as browser:
            browser.go(link)
            browser.wait("document.getElementById('video').getVideoPlaybackQuality()"
                         ".totalVideoFrames >= 25", 120)
            self.assertEqual(browser.run("return location.href;"), address + "#watch")
            self.assertEqual(browser.run("return document.getElementById('link').value;"), self.uri)
            browser.picture(f"{PICTURES}/opened{OF}.png")
            # Who knows where the page is fills in a link, and does not play it.
            browser.click("#stop")
            for fragment in ("#watch=culvert%3A%3Fx%3Devil", f"#t={'0' * 32}&watch=culvert%3Aevil",
                             f"#k={ticket}&watch=culvert%3Atwice", "#watch=%E0%A4%A"):
                browser.run("location.hash = arguments[0];", fragment)
                want = fragment.split("watch=")[1].replace("%3A", ":").replace("%3F", "?")
                browser.wait("document.getElementById('link').value === arguments[0]", 60,
                             want.replace("%3D", "="))
                self.assertTrue(browser.run("return document.getElementById('stage').hidden;"))
                self.assertEqual(browser.run("return document.activeElement.id;"), "link")
            # The two tickets that are none are said by the browser, too.
            self.assertTrue(all("401" in line for line in browser.log()))
            self.foreign_page(browser, address, play.wait_for("link")["url"])
        with BROWSER() as browser:
            browser.go(link)
            browser.wait("document.getElementById('trouble').textContent.includes('token')")
            self.assertTrue(browser.run("return document.getElementById('stage').hidden;"))
        self.assertEqual(play.end()[0], 0)

    def recordings(self):
        """A channel that is silent shows what it broadcast, and plays it."""
        read, write = os.pipe()
        source = programs.Program("live", *self.village.options("recorder"), "--record",
                                  self.folder / "evening.mp4", "--name", "Evenings", "-", stdin=read)
        os.close(read)
        self.running.append(source)
        uri = source.wait_for("live", 120)["uri"]
        with os.fdopen(write, "wb") as pipe:
            pipe.write((self.folder / "film.mp4").read_bytes())
        source.wait_for("pointed", 120)
        with BROWSER() as browser:
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.type("#link", uri + ENTER)
            browser.wait("document.querySelector('#recordings button') !== null", 120)
            browser.wait("/over|Nobody broadcasts/.test(document.getElementById('screen').textContent"
                         " + document.getElementById('clock').textContent)", 120)
            self.assertIn("evening.mp4",
                          browser.run("return document.getElementById('recordings').textContent;"))
            self.assertTrue(browser.run("return document.querySelector('#recordings .gone') === null;"),
                            "a channel of somebody else")
            self.accessible(browser, "recordings")
            browser.picture(f"{PICTURES}/recordings{OF}.png")
            browser.click("#recordings button")
            browser.wait("document.getElementById('video').getVideoPlaybackQuality()"
                         ".totalVideoFrames >= 25", 120)
            self.assertEqual(browser.run("return document.getElementById('now').textContent;"),
                             "evening.mp4")
            self.assertTrue(browser.run("return document.getElementById('recordings_part').hidden;"))
        self.unlisted(uri)

    def unlisted(self, uri):
        """Whose channel it is takes the recording off the list again."""
        status, out, err = programs.run("status", "--state", self.folder / "recorder", "--json")
        self.assertEqual(status, 0, err)
        with BROWSER() as browser:
            browser.go(json.loads(out)["page"])
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            browser.type("#link", uri + ENTER)
            browser.wait("document.querySelector('#recordings .gone') !== null", 120)
            self.accessible(browser, "recordings of ours")
            # This node still has what was broadcast, which was no MPEG-TS: that is said once.
            browser.wait("document.getElementById('trouble').textContent.includes('play')", 120)
            browser.run("await new Promise((ok) => setTimeout(ok, 1500));")
            self.assertEqual([line for line in browser.log() if "Uncaught" in line], [])
            browser.click("#recordings .gone")
            browser.wait("document.getElementById('recordings_part').hidden", 120)

    def idle(self, browser):
        """Nothing is watched: what the node says meanwhile changes nothing on the page, and so
        the browser has nothing to draw. A guard may come or go: there is more than one try."""
        browser.go(self.page)
        browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
        for _ in range(10):
            found = browser.run(
                "const parse = JSON.parse, seen = []; let states = 0;"
                "JSON.parse = (text) => { states++; return parse(text); };"
                "const watcher = new MutationObserver((all) => seen.push(...all.map((m) =>"
                " `${m.type} of ${m.target.id || m.target.nodeName}`)));"
                "watcher.observe(document, {subtree: true, childList: true, attributes: true,"
                " characterData: true});"
                "while (states < 3) await new Promise((ok) => setTimeout(ok, 100));"
                "watcher.disconnect(); JSON.parse = parse; return seen;")
            if not found:
                browser.go("about:blank")
                return
        self.fail(f"an idle page changes: {found}")

    def ways(self, browser):
        """What is said of a peer, of the way to it and of who knows what is true of that way:
        nobody is behind the relay that shares it, and nobody calls himself his visitor."""
        none = dict.fromkeys(("rate_down", "rate_up", "received", "sent", "rtt_ms", "rank"), 0)
        row = {**none, **dict.fromkeys(("direct", "open", "exit", "choked"), False), "swarm": "0a",
               "hidden": True, "address": None, "path": ["aa", "bb", "cc"], "hops": 3}
        here = {"path": [], "hops": 0}
        only = "not by whom: on this way only aa knows your address."
        rows = [
            ({**here, "direct": True, "hidden": False, "address": "192.0.2.1:7"},
             "192.0.2.1:7", "you → 192.0.2.1:7", [], ["ours", "bare"],
             "Direct: the peer sees your address, and you see its own or that of an exit in front of "
             "it. Nothing of you is hidden."),
            ({}, "hidden, behind cc", "you → aa → bb → cc → • • • → Peer",
             ["guard", "relay", "meeting point", "their own hops"], ["ours"] * 4 + ["theirs"] * 2,
             "On this way only aa knows your address, and not what passes. The peer sees the "
             "meeting point and nothing of you."),
            ({"path": ["aa", "bb", "cc", "dd"], "hops": 4},  # as who shares goes
             "hidden, behind dd", "you → aa → bb → cc → dd → • • • → Peer",
             ["guard", "relay", "relay", "meeting point", "their own hops"],
             ["ours"] * 5 + ["theirs"] * 2,
             "On this way only aa knows your address, and not what passes. The peer sees the "
             "meeting point and nothing of you."),
            ({"exit": True}, "through the exit cc", "you → aa → bb → cc → Peer",
             ["guard", "relay", "exit, calls the peer"], ["ours"] * 4 + ["bare"],
             f"cc calls the peer from its own address. Both see what is fetched and {only}"),
            ({"open": True}, "cc, which shares it openly", "you → aa → bb → cc",
             ["guard", "relay", "shares it openly"], ["ours"] * 4,
             f"cc shares this under its own name. It sees what is asked for and {only}"),
            ({**here, "open": True}, "hidden, comes by a circuit", "you → • • • → visitor",
             ["their own hops"], ["ours", "theirs", "theirs"],
             "You share this under your relay's name, and everybody may know it. Who fetches it "
             "comes by a circuit that ends here, and stays unknown to you."),
        ]
        said = browser.run("""
            const views = await import("/views.js");
            const texts = (what) => [...document.querySelectorAll(what)].map((e) => e.textContent);
            return arguments[0].map((row) => {
              views.peers([row], true);
              views.path({swarm: row.swarm}, [row]);
              return [document.querySelector("#peers td").textContent,
                texts("#path svg text:not(.small)").join(" → "), texts("#path svg text.small")
                  .filter((text) => text), [...document.querySelectorAll("#path circle")]
                  .map((e) => e.getAttribute("class")), texts("#path .hint").join(),
                document.querySelector("#path svg").getAttribute("aria-label")];
            });""", [{**row, **more} for more, *_ in rows])
        for (more, *want), (*found, label) in zip(rows, said, strict=True):
            self.assertEqual(found, want, more)
            self.assertEqual(label, f"{want[1]}. {want[-1]}")
        hidden, direct = {"direct": False, "open": False, "sharing": True}, {"direct": True}
        ours = {**hidden, "open": True}
        rows = [([], [], 2, "hidden: Hidden"), ([], [], 0, "waiting: Not ready yet"),
                ([hidden], [3, 4], 2, "hidden: Hidden · 3 hops"),
                ([{**ours, "sharing": False}], [3], 2, "hidden: Hidden · 3 hops"),
                ([hidden, ours], [3, 0], 2, "open: OPEN · under your relay's name"),
                ([ours, direct], [0], 2, "direct: DIRECT · not hidden")]
        said = browser.run("""
            const views = await import("/views.js"), badge = document.getElementById("badge");
            return arguments[0].map(([swarms, hops, guards]) => {
              const peers = hops.map((n) => ({hidden: true, hops: n}));
              views.badge({swarms, peers, status: {guards}});
              return `${badge.dataset.state}: ${badge.textContent}`;
            });""", rows)
        self.assertEqual(said, [want for *_, want in rows])
        # Who is not ready, or whose clock is off, is told why and what helps.
        fine = {"guards": 2, "dht_good": 7, "relays_missing": 0, "clock_off": 0}
        rows = [([], fine, ""), ([], {**fine, "relays_missing": 1}, ""),
                ([], {**fine, "guards": 0, "dht_good": 0, "relays_missing": 6}, "nobody has answered"),
                ([], {**fine, "guards": 0, "relays_missing": 6}, "need 6 more relays than are known"),
                ([], {**fine, "guards": 0, "relays_missing": 1}, "need 1 more relay than are known"),
                ([], {**fine, "guards": 0}, "calls its first relays"),
                ([direct], {**fine, "guards": 0, "relays_missing": 6}, ""),
                ([], {**fine, "clock_off": 86400}, "clock is 1 day slow"),
                ([hidden], {**fine, "guards": 0, "clock_off": -3 * 86400}, "clock is 3 days fast")]
        said = browser.run("""
            const views = await import("/views.js"), why = document.getElementById("obstacle");
            return arguments[0].map(([swarms, status]) => {
              views.badge({swarms, peers: [], status});
              return why.hidden ? "" : why.textContent;
            });""", rows)
        for (*_, want), found in zip(rows, said, strict=True):
            self.assertEqual(bool(found), bool(want), found)
            self.assertIn(want, found)
        kinds = [(hidden, "Shared, hidden"), ({**hidden, "sharing": False}, "Fetching, hidden"),
                 (direct, "DIRECT, hides nothing"), (ours, "OPEN, under your relay's name"),
                 ({**ours, "sharing": False}, "Fetching, hidden")]
        said = browser.run("""
            const views = await import("/views.js");
            views.swarms(arguments[0], [], [], {});
            const cards = [...document.querySelectorAll("#swarms li .hint")];
            const texts = cards.map((e) => e.textContent.split(" · ")[0]);
            views.swarms([], [], [], {});
            return texts;""", [{**none, "swarm": str(i), "name": "", "have": 0, "length": 0,
                                "peers": 0, **swarm} for i, (swarm, _) in enumerate(kinds)])
        self.assertEqual(said, [want for _, want in kinds])
        # Why something changed: of our own account, of somebody's, of a relay; in a language in
        # which a class is called otherwise than programs call it.
        row = {"day": "2026-11-03", "given": 4 << 20, "taken": 0}
        rows = [({"about": "own", "was": "new", "became": "giver", "cause": 1},
                 "2026-11-03|unser eigenes Konto|neu → Gebender|es gibt mindestens, was es nimmt"),
                ({"about": "class", "account": 3, "was": "giver", "became": "debtor", "cause": 3},
                 "2026-11-03|Klasse · Konto 3|Gebender → Schuldner|es hat lange mehr als doppelt so "
                 "viel genommen, wie es gab, und viel"),
                ({"about": "score", "relay": "0123456789abcdef", "was": "0.1", "became": "0.2", "cause": 6},
                 "2026-11-03|Wertung · 0123456789ab|0.1 → 0.2|Relays haben vereinbart, was sie "
                 "füreinander trugen")]
        said = browser.run("""
            const views = await import("/views.js"), text = await import("/text.js");
            await text.setLanguage("de");
            views.ledger({rows: arguments[0], relays: []});
            const lines = [...document.querySelectorAll("#why tr")].map((line) =>
              [...line.children].slice(0, 4).map((cell) => cell.textContent).join("|"));
            views.ledger({rows: [], relays: []});
            await text.setLanguage("en");
            return lines;""", [{**row, **more} for more, _ in rows])
        self.assertEqual(said, [want for _, want in rows])

    def wrong_links(self, browser):
        """What is wrong with a link is said as long as nothing else is asked for."""
        browser.go(self.page)
        browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
        self.assertTrue(browser.run("return document.getElementById('peers_part').hidden &&"
                                    " !document.getElementById('intro').hidden;"))
        browser.type("#link", "culvert:?x=nonsense" + ENTER)
        browser.wait("!document.getElementById('trouble').hidden")
        browser.run("const parse = JSON.parse; let states = 0;"
                    "JSON.parse = (text) => { states++; return parse(text); };"
                    "while (states < 3) await new Promise((ok) => setTimeout(ok, 100));"
                    "JSON.parse = parse;")
        said = browser.run("const t = document.getElementById('trouble');"
                           "return t.hidden ? '' : t.textContent;")
        self.assertIn("link", said)
        self.assertTrue(browser.run("return document.getElementById('doing').hidden;"))
        self.accessible(browser, "wrong link")
        browser.picture(f"{PICTURES}/wrong{OF}.png")

    def test_everything(self):
        with BROWSER() as browser:
            self.strangers()
            self.idle(browser)
            browser.go(self.page)
            browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
            self.ways(browser)
            browser.go("about:blank")
            self.wrong_links(browser)
            self.watch(browser)
            self.keyboard(browser)
            self.views(browser)
            self.assertEqual(browser.log(), [])
            browser.run("document.getElementById('stop').click();")
            browser.wait("document.getElementById('stage').hidden")
            self.nothing_is_open()
            self.play_opens()
            self.node_goes(browser)

    def nothing_is_open(self):
        """The node has closed what the page stopped: until then nobody else may open it."""
        limit = time.monotonic() + programs.SECONDS
        while json.loads(programs.run("status", "--state", self.folder / "node", "--json")[1])["swarms"]:
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.1)

    def strangers(self):
        """Who has no token, or comes from elsewhere, sees and does nothing."""
        page, token = self.page.split("#t=")
        bearer = {"Authorization": f"Bearer {token}"}
        self.assertEqual((self.folder / "node" / "token").read_text(), token)
        self.assertEqual(os.stat(self.folder / "node" / "token").st_mode & 0o777, 0o600)
        rows = [
            ("api/status", {}, 401),
            ("api/status", bearer, 200),
            ("api/page", bearer, 200),
            ("api/status", {"Authorization": "Bearer 00"}, 401),
            ("api/status", {**bearer, "Host": "evil.example"}, 421),
            ("api/status", {**bearer, "Origin": "http://evil.example"}, 403),
            ("api/status", {**bearer, "Sec-Fetch-Site": "cross-site"}, 403),
            ("api/events", {}, 401),
            ("api/tasks", {"method": "POST"}, 401),
            ("api/tasks", {**bearer, "method": "POST"}, 400),
            ("api/nothing", bearer, 404),
            ("", {}, 200),
            ("", {"Host": "evil.example"}, 421),
            ("api/status", {"Cookie": f"t={token}; culvert={token}"}, 401),
            (f"api/status?t={token}", {}, 401),
            ("app.js", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
            ("app.js", {"method": "POST"}, 405),
            ("../token", {}, 404),
            ("%2e%2e/token", {}, 404),
            ("/token", {}, 404),
            ("i18n/../../token", {}, 404),
        ]
        for path, headers, want in rows:
            status, text = ask(page + path, **headers)
            self.assertEqual(status, want, (path, headers))
            self.assertNotIn(token, text if path != "api/page" else "")

    def foreign_page(self, browser, address, link):
        """A page of another port of this machine, which is the same site to a browser. It knows
        the film's link and even the token, and gets nothing of either."""
        class Elsewhere(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!DOCTYPE html><title>Elsewhere</title><body>")

            def log_message(self, *_):
                pass

        token = (self.folder / "node" / "token").read_text()
        swarms = {"Authorization": f"Bearer {token}"}
        mine = self.folder / "mine.bin"
        mine.write_bytes(b"not to be shared by others")
        before = json.loads(ask(address + "api/swarms", **swarms)[1])
        self.assertIn(link, [swarm.get("link") for swarm in before])
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
            threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
            browser.go(f"http://127.0.0.1:{elsewhere.server_port}/")
            found = browser.run("""
                const [address, link, token, file] = arguments;
                const api = address + "api/";
                const answer = (url, options) => fetch(url, options).then(
                  (a) => `${a.type} ${a.status}`, (e) => e.name);
                const video = () => new Promise((ok) => {
                  const v = document.createElement("video");
                  v.onerror = () => ok("error");
                  v.onloadedmetadata = () => ok("plays");
                  v.src = link;
                  document.body.append(v);
                });
                // A form whose text is JSON, as a browser sends it without asking first. What is begun
                // has an answer that goes on; a refusal has an end.
                const form = () => new Promise((ok) => {
                  const frame = document.createElement("iframe"), f = document.createElement("form");
                  const field = document.createElement("input");
                  frame.name = "into";
                  document.body.append(frame, f);
                  const wanted = {verb: "share", argument: file, folder: "/", options: {}};
                  field.name = JSON.stringify(wanted).slice(0, -1) + ', "x": "';
                  field.value = '"}';
                  Object.assign(f, {method: "POST", enctype: "text/plain", target: "into",
                                    action: api + "tasks"});
                  f.append(field);
                  frame.onload = () => ok("over");
                  setTimeout(() => ok("goes on"), 60000);
                  f.submit();
                });
                const events = () => new Promise((ok) => {
                  const e = new EventSource(api + "events");
                  e.onopen = () => ok("open");
                  e.onerror = () => { e.close(); ok("error"); };
                });
                const bearer = {headers: {Authorization: `Bearer ${token}`}};
                return {
                  video: await video(), form: await form(), events: await events(),
                  film: await answer(link), blind: await answer(link, {mode: "no-cors"}),
                  status: await answer(api + "status"), known: await answer(api + "status", bearer),
                  post: await answer(api + "tasks", {method: "POST", mode: "no-cors", body: "{}"}),
                  script: await answer(address + "app.js", {mode: "no-cors"}),
                };""", address, link, token, str(mine))
            after = json.loads(ask(address + "api/swarms", **swarms)[1])
            browser.go("about:blank")
            elsewhere.shutdown()
        self.assertEqual(found, {"video": "error", "form": "over", "events": "error",
                                 **dict.fromkeys(("film", "blind", "status", "known", "post",
                                                  "script"), "TypeError")})
        self.assertEqual([s["swarm"] for s in after], [s["swarm"] for s in before])
        self.assertEqual(ask(link, method="HEAD")[0], 200)  # to those who may, it was there

    def watch(self, browser):
        browser.go(self.page)
        self.assertNotIn("t=", browser.run("return location.href;"))
        # A cookie would go to every server on this machine.
        self.assertEqual(browser.run("return document.cookie;"), "")
        browser.wait("document.getElementById('badge').dataset.state === 'hidden'")
        # What is done before there is anything to see is said, and can be stopped.
        browser.run("window.seen = []; new MutationObserver(() => {"
                    "  if (!document.getElementById('doing').hidden)"
                    "    window.seen.push(document.getElementById('doing').innerText);"
                    "}).observe(document.getElementById('watch'), {subtree: true, attributes: true,"
                    " childList: true});")
        browser.type("#link", "culvert:?x=nonsense" + ENTER)
        browser.wait("!document.getElementById('trouble').hidden")
        browser.run("document.getElementById('link').value = '';")
        browser.type("#link", self.uri + ENTER)
        browser.wait("document.getElementById('video').readyState >= 2", 120)
        self.assertRegex(browser.run("return window.seen[0];"), r"^Opening the link\s+Stop$")
        self.assertTrue(browser.run("return document.getElementById('doing').hidden &&"
                                    " document.getElementById('trouble').hidden;"))
        # Whom it comes from is shown while it comes: eighteen seconds.
        path = browser.wait("document.querySelector('#path svg')?.getAttribute('aria-label')")
        self.assertIn("On this way only ", path)
        self.assertEqual(path.count("→"), 5)  # you, three hops, theirs, peer
        # In one look: a way may be made anew between two.
        browser.wait("document.querySelectorAll('#peers tr td.n').length >= 7 && "
                     "document.getElementById('peers').textContent.includes('hidden, behind')")
        browser.wait("document.getElementById('video').getVideoPlaybackQuality()"
                     ".totalVideoFrames >= 100", 120)
        self.assertIn("Hidden", browser.run("return document.getElementById('badge').textContent;"))
        browser.picture(f"{PICTURES}/watch{OF}.png")
        # A jump to a part that is not there yet: the browser waits, then shows it.
        browser.run("const v = document.getElementById('video'); v.currentTime = 36;")
        browser.wait("!document.getElementById('video').seeking && "
                     "document.getElementById('video').readyState >= 2", 120)
        self.assertGreaterEqual(browser.run("return document.getElementById('video').currentTime;"),
                                36)
        self.accessible(browser, "watch")
        # What was done is seen, for a while.
        browser.click("#copy")
        browser.wait("document.getElementById('live').className === 'told'")
        self.assertEqual(browser.run("return document.getElementById('live').innerText;"),
                         "Link copied")
        self.accessible(browser, "copied")
        browser.picture(f"{PICTURES}/copied{OF}.png")
        browser.wait("document.getElementById('live').className === 'unseen'")
        # A button whose name says what it does is not called pressed besides.
        self.assertTrue(browser.run("const t = document.getElementById('toggle');"
                                    "const plays = !document.getElementById('video').paused;"
                                    "return t.ariaPressed === null && t.dataset.on === `${plays}`"
                                    " && t.ariaLabel === (plays ? 'Pause' : 'Play');"))

    def keyboard(self, browser):
        browser.run("document.getElementById('main').focus();")
        before = browser.run("return document.getElementById('video').paused;")
        browser.keys("k")
        browser.wait("document.getElementById('video').paused !== arguments[0]", 60, before)
        browser.keys("m")
        browser.wait("document.getElementById('video').muted", 60)
        browser.run("document.activeElement.blur(); document.getElementById('link').value = '';"
                    "document.getElementById('link').focus();")
        browser.keys("mk")  # in a field these are letters
        self.assertEqual(browser.run("return document.getElementById('link').value;"), "mk")
        reached = set()
        for _ in range(40):
            browser.keys(TAB)
            reached.add(browser.run("const e = document.activeElement;"
                                    "return e.id || e.getAttribute('href') || e.className;"))
        self.assertLessEqual({"toggle", "seek", "mute", "volume", "full", "extern", "copy", "stop",
                              "#share", "#network", "#settings"}, reached)

    def views(self, browser):
        for view in ("share", "network", "settings"):
            browser.run(f"location.hash = '#{view}';")
            browser.wait(f"!document.getElementById('{view}').hidden")
            browser.wait("document.querySelectorAll('#numbers dd').length > 0 || "
                         "document.getElementById('network').hidden")
            if view == "share":
                browser.wait("document.querySelector('#swarms button[aria-expanded]') !== null")
                browser.run("document.querySelector('#swarms button[aria-expanded]').click();")
                browser.wait("document.querySelector('#swarms svg.code path')?.getAttribute('d')"
                             ".length > 1000")
            self.accessible(browser, view)
            browser.picture(f"{PICTURES}/{view}{OF}.png")
        for theme in ("dark", "light"):
            browser.run(f"const t = document.getElementById('theme'); t.value = '{theme}';"
                        "t.dispatchEvent(new Event('change'));")
            browser.run("location.hash = '#watch';")
            browser.wait("!document.getElementById('watch').hidden")
            self.accessible(browser, theme)
            browser.picture(f"{PICTURES}/{theme}{OF}.png")
        browser.run("const l = document.getElementById('language');"
                    "for (l.value of ['fr', 'nl', 'de', 'es', 'it'])"
                    "  l.dispatchEvent(new Event('change'));")
        browser.wait("document.documentElement.lang === 'it'")
        for language in LANGUAGES:
            browser.run("const l = document.getElementById('language'); l.value = arguments[0];"
                        "l.dispatchEvent(new Event('change'));", language)
            browser.wait("document.documentElement.lang === arguments[0]", 60, language)
            tab = json.loads((WEB / "i18n" / f"{language}.json").read_text())["tab_network"]
            browser.wait("document.querySelector('nav a[href=\"#network\"]').textContent === "
                         "arguments[0]", 60, tab)

    def node_goes(self, browser):
        self.node.end()
        browser.wait("document.getElementById('badge').dataset.state === 'lost'", 60)
        browser.run("location.hash = '#share';")  # what is old must not look new
        browser.wait("!document.getElementById('share').hidden")
        self.assertEqual(browser.run("return document.getElementById('badge').dataset.state;"),
                         "lost")
        self.assertTrue(browser.run("return !document.getElementById('trouble').hidden;"))
        browser.picture(f"{PICTURES}/lost{OF}.png")
        # Nor is what cannot be done said in the words of the browser's own workings.
        browser.run("document.getElementById('file').value = '/film.mp4';"
                    "document.getElementById('offer').requestSubmit();")
        words = json.loads((WEB / "i18n" / f"{LANGUAGES[-1]}.json").read_text())
        browser.wait("document.getElementById('trouble').textContent === arguments[0]", 60,
                     words["node_away_now"])
        self.assertEqual(browser.run("return document.getElementById('drops').children.length;"), 0)


class Words(unittest.TestCase):
    def test_every_language_says_everything(self):
        words = {code: json.loads((WEB / "i18n" / f"{code}.json").read_text())
                 for code in LANGUAGES}
        source = "".join((WEB / name).read_text() for name in
                         ("index.html", "app.js", "camera.js", "drop.js", "views.js", "player.js"))
        for code, table in words.items():
            self.assertEqual(set(table), set(words["en"]), code)
            for key, text in table.items():
                places = {part.split("}")[0].split("|")[0] for part in text.split("{")[1:]}
                known = {part.split("}")[0].split("|")[0]
                         for part in words["en"][key].split("{")[1:]}
                self.assertLessEqual(places, known, (code, key))
                self.assertTrue(text.strip(), (code, key))
        for key in words["en"]:
            family = key.split("_")[0] in ("about", "because", "class") or key.endswith("_chart")
            self.assertTrue(f'"{key}"' in source or family, f"nobody says {key}")
        # Every cause and class that a ledger knows is said.
        causes = re.findall(r"^    X\([A-Z_]+, (\d+), ",
                            (WEB.parent / "reputation" / "why.h").read_text(), re.MULTILINE)
        self.assertEqual({f"because_{n}" for n in causes},
                         {key for key in words["en"] if key.startswith("because_")})

    def test_size(self):
        import gzip
        packed = sum(len(gzip.compress(f.read_bytes(), 9)) for f in WEB.rglob("*")
                     if f.suffix in (".html", ".css", ".js") or f.name == "en.json")
        print(json.dumps({"page_octets": packed}), file=sys.stderr)
        self.assertLess(packed, 150 * 1024)
        players = WEB.parent.parent / "web-packages"
        if players.exists():  # both together, on first use
            packed = sum(len(gzip.compress((players / name).read_bytes(), 9)) for name in
                         ("hls.js/dist/hls.light.min.js", "mpegts.js/dist/mpegts.js"))
            print(json.dumps({"players_octets": packed}), file=sys.stderr)
            self.assertLess(packed, 220 * 1024)


if __name__ == "__main__":
    firefox = sys.argv[5:6] == ["firefox"] and sys.argv.pop(5)
    sys.argv, rest = sys.argv[:2] + sys.argv[5:], sys.argv[2:5]
    DHT, PACKAGES, PICTURES = rest[0], pathlib.Path(rest[1]), pathlib.Path(rest[2])
    BROWSER, OF = (bidi.Firefox, "-firefox") if firefox else (Browser, "")
    PICTURES.mkdir(exist_ok=True)
    done = subprocess.run([str(WEB.parent.parent / "scripts" / "npm-package"),
                           str(pathlib.Path(__file__).parent / "packages.lock"), str(PACKAGES)],
                          check=False)
    if done.returncode:
        sys.exit("the browser test's packages could not be fetched")
    programs.main()
