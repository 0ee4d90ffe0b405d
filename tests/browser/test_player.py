"""The denoising player in a real JupyterLab in a real Chromium.

    python tests/browser/test_player.py [NOTEBOOK]      (an executed train notebook in its run folder; default: the newest of outputs/, else one is made)
    python -m unittest discover tests/browser

Needs Chromium (`apt-get install chromium`). With SCREENSHOTS=FOLDER it leaves pictures there; with THEME="JupyterLab Dark" in that theme.
"""
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from bijdiff.dashboard import DenoisingPlayer, display_pieces
from bijdiff.sampler import Trace

project = Path(__file__).resolve().parents[2]
scripts = Path(sys.executable).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
NOT_FOUND = "model not found"


class Lab:
    "A JupyterLab server of our own, on a free loopback port, with settings of its own."

    def __init__(self, root: Path, home: Path, theme: str):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.token, self.url = secrets.token_hex(16), f"http://127.0.0.1:{port}"
        settings = {"apputils-extension/themes": {"theme": theme, "adaptive-theme": False}, "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}
        for name, values in settings.items():
            file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
                       "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "JUPYTER_TOKEN": self.token}
        self.log = open(home / "lab.log", "w")
        self.process = subprocess.Popen(
            [scripts / "jupyter-lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}",
             "--LabApp.extension_manager=readonly"], env=environment, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        for _ in range(600):
            if self.process.poll() is not None: break
            try: return self.api("status") and None
            except OSError: time.sleep(0.1)
        self.close()
        raise AssertionError(f"JupyterLab did not start:\n{(home / 'lab.log').read_text()[-3000:]}")

    def api(self, path: str, method: str = "GET"):
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else True

    def end_kernels(self):
        for session in self.api("sessions"): self.api(f"sessions/{session['id']}", "DELETE")

    def close(self):
        if self.process.poll() is None:
            try: self.end_kernels()
            except OSError: pass
            self.process.terminate()
            try: self.process.wait(20)
            except subprocess.TimeoutExpired: self.process.kill()
        self.log.close()


def train_notebook(folder: Path) -> Path:
    "The train notebook, executed for 20 steps by papermill in a project of its own."
    (folder / "settings.ini").touch()
    out = folder / "outputs" / "browser"
    out.mkdir(parents=True)
    command = [scripts / "papermill", "--inject-output-path", "--no-progress-bar", project / "nbs/experiments/train.ipynb", out / "train.ipynb", "-p", "steps", "20"]
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
    return out / "train.ipynb"


def html_outputs(notebook: Path) -> list[str]:
    "The static twins that a notebook holds."
    outputs = [o for c in json.loads(notebook.read_text())["cells"] for o in c.get("outputs", [])]
    html = ["".join(o["data"]["text/html"]) for o in outputs if "text/html" in o.get("data", {})]
    return [h for h in html if 'class="bijdiff-player ' in h]


class PlayerTest(unittest.TestCase):
    notebook: Path | None = None

    @classmethod
    def setUpClass(cls):
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there = [p for p in project.glob("outputs/*/train.ipynb") if (p.parent / "traces" / "final.npz").exists() and (p.parent / "summary.json").exists()]
        executed = cls.notebook or max(there, key=lambda p: p.stat().st_mtime, default=None) or train_notebook(cls.home)
        cls.executed = Path(executed).resolve()
        run = cls.executed.parent
        cls.copy = run / "browser-test.ipynb"  # in the run folder, where its paths hold
        notebook = json.loads(cls.executed.read_text())
        for cell in notebook["cells"]:  # papermill's output path is relative to where it ran; by hand, the name of the run says that it is done
            if "injected-parameters" in cell["metadata"].get("tags", []): cell["source"] = [*cell["source"], f"\nrun = {run.name!r}"]
        cls.copy.write_text(json.dumps(notebook, indent=1))
        cls.addClassCleanup(lambda: cls.copy.unlink(missing_ok=True))
        cls.trace = Trace.load(run / "traces" / "final.npz")[0]
        cls.player = DenoisingPlayer(cls.trace)
        cls.frames = [display_pieces(cls.trace, frame)[0] for frame in cls.trace.history()[:, 0]]
        root = next((p for p in run.parents if (p / "settings.ini").is_file()), run)
        cls.path = cls.copy.relative_to(root).as_posix()
        cls.lab = Lab(root, cls.home, os.environ.get("THEME", "JupyterLab Light"))
        cls.addClassCleanup(cls.lab.close)
        executable = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
        if executable is None: raise AssertionError("no Chromium: apt-get install chromium")
        playwright = stack.enter_context(sync_playwright())
        cls.browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        cls.addClassCleanup(cls.browser.close)

    def open(self):
        "The notebook in a page of its own; what goes over the wire is kept in `self.requests` and `self.sent`."
        page = self.browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light").new_page()
        self.addCleanup(page.context.close)
        page.set_default_timeout(60_000)
        self.requests, self.sent = [], []
        page.on("request", lambda r: self.requests.append(r.url))
        page.on("websocket", lambda s: s.on("framesent", lambda data: self.sent.append(data)))
        page.goto(f"{self.lab.url}/lab/tree/{self.path}?reset&token={self.lab.token}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=120_000)
        return page

    def scroll_to(self, page, locator):
        "JupyterLab renders the cells in view; go down from the top until the wanted one is."
        page.locator(".jp-WindowedPanel-outer").first.hover()
        page.mouse.wheel(0, -100_000)
        page.wait_for_timeout(500)
        for _ in range(200):
            if locator.count() and locator.first.is_visible(): break
            failed = page.locator(".jp-OutputArea-output").filter(has_text="Traceback (most recent call last)")
            if failed.count(): self.fail(failed.first.text_content()[-2000:])
            page.mouse.wheel(0, 400)
            page.wait_for_timeout(50)
        locator.first.evaluate("e => e.scrollIntoView({ block: 'center' })")
        return locator.first

    def shot(self, page, name):
        if folder := os.environ.get("SCREENSHOTS"):
            page.wait_for_timeout(500)
            page.screenshot(path=str(Path(folder) / f"{name}.png"))

    def grid(self, live): return live.locator(".cell .now").all_text_contents()

    def check_twin(self, page, name):
        "The static twin shows the final text of the trace, and no program."
        twin = self.scroll_to(page, page.locator(f".{self.player.name}"))
        self.assertFalse(twin.evaluate("e => e.shadowRoot !== null"), "a program runs where there should be a twin")
        shown = [text.rstrip("\n") for text in twin.locator("span[title]").all_inner_texts()]
        self.assertEqual(shown, [piece or "░░░" for piece in self.frames[-1]])
        titles = twin.locator("span[title]").evaluate_all("cells => cells.map(c => c.title)")
        steps = [int(m[1]) if (m := re.match(r"step (\d+)", t)) else 0 for t in titles]
        self.assertEqual(steps, self.trace.reveal_step[0].tolist())
        backgrounds = twin.locator("span[title]").evaluate_all("cells => cells.map(c => getComputedStyle(c).backgroundColor)")
        self.assertGreater(len(set(backgrounds)), 3, "the colours of the twin were taken out")
        self.assertEqual(page.get_by_text(NOT_FOUND).count(), 0)
        self.shot(page, name)

    def test_1_executed_headlessly(self):
        "What papermill left is the twin alone."
        twins = html_outputs(self.executed)
        self.assertEqual(twins, [self.player.html])
        self.assertNotIn("<script", twins[0])
        self.assertNotIn("widgets", json.loads(self.executed.read_text())["metadata"])
        self.check_twin(self.open(), "1-executed-headlessly")

    def test_2_live(self):
        "Run in JupyterLab, the player scrubs, plays and tells its candidates, without the kernel; saved and opened again it is its twin."
        page = self.open()
        page.locator(".jp-Notebook .jp-CodeCell .jp-Editor").first.click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
        page.wait_for_timeout(1000)
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=300_000)
        live = self.scroll_to(page, page.locator(f".{self.player.name} .player"))
        before = len(self.sent)

        # scrubbing: every step shows what the trace says
        steps, scrub = self.trace.steps, live.get_by_role("slider")
        self.assertEqual(self.grid(live), self.frames[-1])
        for step in sorted({0, 1, 2, steps // 3, steps // 2, steps - 1, steps}):
            scrub.fill(str(step))
            self.assertEqual(self.grid(live), self.frames[step], f"step {step}")
            masked = self.frames[step].count("")
            expect(live.locator(".counter")).to_have_text(f"{step} of {steps}" + (f"{masked} masked" if masked else "none masked"))
            self.assertEqual(live.locator(".cell.masked").count(), masked)
            self.assertEqual(live.locator(".cell.fresh").count(), sum(a != b for a, b in zip(self.frames[step], self.frames[step - 1])) if step else 0)
            if step == steps // 2: self.shot(page, "2-half-way")
        box = scrub.bounding_box()
        page.mouse.click(box["x"] + 7 + (box["width"] - 14) / 2, box["y"] + box["height"] / 2)
        self.assertEqual(self.grid(live), self.frames[int(scrub.input_value())])
        self.assertLess(abs(int(scrub.input_value()) - steps / 2), 2)

        # the keyboard
        scrub.fill("0")
        scrub.focus()
        for key, step in ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", steps), ("Home", 0):
            page.keyboard.press(key)
            self.assertEqual(self.grid(live), self.frames[step], key)
        live.locator(".speed").select_option("4")
        scrub.focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(700)
        page.keyboard.press("Space")
        at = int(scrub.input_value())
        self.assertGreater(at, 0, "it does not play")
        self.assertEqual(self.grid(live), self.frames[at])
        page.wait_for_timeout(700)
        self.assertEqual(int(scrub.input_value()), at, "it does not pause")
        live.get_by_role("button", name="Play", exact=True).click()
        expect(live.locator(".counter b")).to_have_text(str(steps), timeout=60_000)  # a busy machine draws slowly
        self.assertEqual(self.grid(live), self.frames[-1])

        # candidates, by pointer and by keyboard
        position = int(self.trace.reveal_step[0].argmax())
        names, chances = display_pieces(self.trace, self.trace.candidates.ids[0, position])[0], self.trace.candidates.probabilities[0, position]
        live.locator(".cell").nth(position).hover()
        rows = live.locator(".card .option .piece").all_text_contents()
        self.assertEqual(rows[:len(names)], names)
        best = live.locator(".card .option .p").first.text_content()
        self.assertLess(abs(float(best.strip("<% ")) / 100 - chances[0].item()), 0.006)
        expect(live.locator(".card .option.chosen .piece")).to_have_text(self.frames[-1][position])
        self.shot(page, "3-candidates")
        live.locator(".cell").first.focus()
        page.keyboard.press("ArrowRight")
        expect(live.locator(".card .what")).to_contain_text("position 2")
        self.assertIn("position 2", live.locator(".cell:focus").get_attribute("aria-label"))
        page.keyboard.press("Escape")
        expect(live.locator(".card")).to_be_hidden()

        # colours
        colours = lambda: live.locator(".cell").evaluate_all("cells => cells.map(c => c.style.getPropertyValue('--tint'))")
        by_step = colours()
        live.get_by_role("button", name="confidence").click()
        self.assertNotEqual(by_step, colours())
        self.shot(page, "4-confidence")
        live.get_by_role("button", name="reveal step").click()
        self.assertEqual(by_step, colours())

        self.assertFalse([s for s in self.sent[before:] if "comm" in str(s)], "the player asked the kernel")
        outside = [u for u in self.requests if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", u)]
        self.assertEqual(outside, [], "something came from the network")

        # the page reloaded while the kernel lives
        page.locator(".jp-Notebook").first.click(position={"x": 5, "y": 5})
        self.save(page)
        page.reload()
        live = self.scroll_to(page, page.locator(f".{self.player.name} .player"))
        live.get_by_role("slider").fill("1")
        self.assertEqual(self.grid(live), self.frames[1])

        # closed, and opened again without running
        page.context.close()
        self.lab.end_kernels()
        self.assertEqual(html_outputs(self.copy), [self.player.html], "what was saved is not the twin")
        text = self.copy.read_text()
        self.assertNotIn("widget-view", text)
        self.assertNotIn("widgets", json.loads(text)["metadata"])
        self.check_twin(self.open(), "5-opened-again")

    def save(self, page):
        "Press Ctrl+S, and wait for the file."
        before, began = self.copy.stat().st_mtime_ns, time.time()
        page.keyboard.press("Control+s")
        while self.copy.stat().st_mtime_ns == before:
            self.assertLess(time.time() - began, 30, "not saved")
            page.wait_for_timeout(200)
        page.wait_for_timeout(1000)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].endswith(".ipynb"): PlayerTest.notebook = Path(sys.argv.pop(1))
    unittest.main(verbosity=2)
