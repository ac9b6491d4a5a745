"""Drives a headless Chromium through the pages of the AgStack dialect, over its debugging pipe. See tests/pages."""

import base64
import glob
import json
import os
import re
import subprocess
import sys
import time

CHROMIUM, URL, WORK, PICTURES = sys.argv[1:5]
EMAIL, PASSWORD, SECOND = "ada@farm.example", "Passw0rd", "Passw0rd2"


class Browser:
    """One tab."""

    def __init__(self):
        to_read, self.to = os.pipe()
        self.source, from_write = os.pipe()
        # It reads commands from descriptor 3 and writes answers to 4.
        def wire():
            os.dup2(to_read, 13), os.dup2(from_write, 14)
            os.dup2(13, 3), os.dup2(14, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--disable-background-networking", f"--user-data-dir={WORK}/profile", "--window-size=900,1200"],
            preexec_fn=wire, close_fds=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Network", "Log"]:
            self.call(domain + ".enable")
        self.requested, self.complaints, self.status, self.pages = [], [], 0, 0

    def read(self):
        while b"\0" not in self.rest:
            part = os.read(self.source, 1 << 16)
            if not part:
                raise SystemExit("the browser has ended")
            self.rest += part
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def hear(self, message):
        method, given = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
        elif method == "Network.responseReceived" and given["type"] == "Document":
            self.status = given["response"]["status"]
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error" and given["entry"]["source"] != "network":
            self.complaints.append(given["entry"]["text"])
        self.events.append(method)

    def call(self, method, **given):
        self.number += 1
        message = {"id": self.number, "method": method, "params": given}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.hear(answer)

    def loaded(self, act):
        self.events.clear()
        act()
        while "Page.loadEventFired" not in self.events:
            self.hear(self.read())

    def open(self, path):
        self.loaded(lambda: self.call("Page.navigate", url=URL + path))

    def js(self, text):
        answer = self.call("Runtime.evaluate", expression=text, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{text}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def send(self, form="form", **fields):
        """Fills a form in and presses its button."""
        for name, value in fields.items():
            self.js(f"document.querySelector('{form} [name={name}]').value = {json.dumps(value)}")
        self.loaded(lambda: self.js(f"document.querySelector('{form} button').click()"))

    def is_at(self, path, status, *words):
        """Where the browser is now, what it was answered and what it shows."""
        at = self.js("location.pathname")
        text = self.js("document.body.innerText")
        assert (at, self.status) == (path, status), (at, self.status, path, status, text)
        for word in words:
            assert word in text, (word, text)
        # Every field has a name that can be read out, and the style is there.
        nameless = "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length"
        assert self.js(nameless) == 0, "a field without a label"
        assert self.js("getComputedStyle(document.querySelector('header')).display") == "flex", "no style"
        self.pages += 1
        if PICTURES:
            os.makedirs(PICTURES, exist_ok=True)
            picture = self.call("Page.captureScreenshot")["data"]
            name = path.strip("/").split("/")[0] or "front"
            with open(f"{PICTURES}/{self.pages:02}-{name}.png", "wb") as file:
                file.write(base64.b64decode(picture))


def link(kind):
    """The newest link of a kind in the outbox."""
    for _ in range(200):
        found = []
        for mail in sorted(glob.glob(f"{WORK}/data/outbox/mail/*.eml")):
            with open(mail, encoding="utf-8") as file:
                found += re.findall(rf"{re.escape(URL)}(/{kind}/\S+)", file.read())
        if found:
            return found[-1].split('"')[0]
        time.sleep(0.05)
    raise SystemExit(f"no mail with a link to {kind}")


browser = Browser()
browser.open("/")
browser.is_at("/", 200, "Log in")
browser.loaded(lambda: browser.js("[...document.links].findLast(a => a.innerText == 'Sign up').click()"))
browser.is_at("/signup", 200, "Sign up now")
browser.send(email=EMAIL, password=PASSWORD, confirm_pass="Passw0rd9", phone_num="921234567890")
browser.is_at("/signup", 400, "Passwords don't match!")
browser.send(password=PASSWORD, confirm_pass=PASSWORD, lat="1.3521", lng="103.8198")
browser.is_at("/", 200, "A confirmation email has been sent via email.")
browser.send(email=EMAIL, password="Wrong0rd")
browser.is_at("/login", 200, "Wrong password")
browser.send(email=EMAIL, password=PASSWORD)
browser.is_at("/home", 200, "not activated yet")
browser.open(link("activate"))
browser.is_at("/", 200, "Successfully logged out")
browser.open("/update")
browser.is_at("/", 200, "Log in")
browser.send(email=EMAIL, password=PASSWORD)
browser.is_at("/update", 200, "Update your account")
browser.send(phone_num="921234567891")
browser.is_at("/update", 200, "Phone number updated")
browser.open("/home")
browser.is_at("/home", 200, "921234567891")
browser.send()
browser.is_at("/home", 200, "API Keys are shared via email. Thanks!")
browser.open("/dashboard")
browser.is_at("/dashboard", 403, "Only administrators")
browser.open("/logout")
browser.is_at("/", 200, "Successfully logged out")
browser.open("/forgot-password")
browser.is_at("/forgot-password", 200, "Forgot your password?")
browser.send(email=EMAIL)
browser.is_at("/", 200, "A link to reset your password has been sent to your email!")
reset = link("reset-password")
browser.open(reset)
browser.is_at(reset, 200, "Set a new password")
browser.send(password=SECOND, confirm_pass=SECOND)
browser.is_at("/", 200, "Password updated succesfully!")
browser.send(email="boss@registry.example", password="seven green goats on a hill")
browser.is_at("/home", 200, "Dashboard")
browser.open("/dashboard")
browser.is_at("/dashboard", 200, "Total Users", "Registered Users of last 12 month", "Registered Users Country")
drawn = "[...document.querySelectorAll('svg.plot .bar, svg.pie .slice')].filter(e => getComputedStyle(e).fill != 'rgb(0, 0, 0)').length"
assert browser.js(drawn) >= 13, "the drawings have no colours"

elsewhere = [address for address in browser.requested if not address.startswith((URL, "about:", "data:"))]
assert not elsewhere, elsewhere
assert not browser.complaints, browser.complaints
browser.process.kill()
print(f"tests/pages: {browser.pages} pages, {len(browser.requested)} requests, none elsewhere, no complaint of the browser")
