"""JSON over server.Connection: one request at a time, or many under way at once."""
import json
import os
import random
import select
import signal

from server import SOURCE, Connection

JSON_TYPE = [("Content-Type", "application/json")]
APPS = os.path.join(SOURCE, "tests", "blackbox", "apps")


def app_path(name):
    """An application of the tests."""
    return os.path.join(APPS, name)


def seeded():
    """The test's random numbers; CONCAVE_TEST_SEED repeats a failure's draws (not its interleaving)."""
    seed = os.environ.get("CONCAVE_TEST_SEED") or str(random.SystemRandom().randrange(1 << 32))
    print("CONCAVE_TEST_SEED=%s" % seed, flush=True)
    return random.Random(seed)


def kill(server):
    """kill -9, which must be what ends the server: it has not died before, nor had anything to complain of."""
    server.signal(signal.SIGKILL)
    code = server.wait()
    complaints = [line for line in server.stderr().splitlines()
                  if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line]
    if code != -signal.SIGKILL or complaints:
        server.fail("ended with %d before it was killed; %s" % (code, complaints))


def stop(server):
    """A clean end. (A sanitizer's report makes the exit code another one.)"""
    code = server.stop()
    if code != 0:
        server.fail("exit code %d at a clean stop" % code)


def execute_patiently(server, *commands):
    """server.execute, repeated after a 503: with small segments the next one may be on its way."""
    while True:
        response = server.request("POST", "/v1/execute", {"commands": list(commands)})
        if response.status != 503:
            break
    if response.status != 200:
        server.fail("execute: %r" % response)
    return response.json()["version"]


class Client:
    """A keep-alive connection of documents. send() and receive() apart keep a request under way."""

    def __init__(self, server):
        self.connection = server.connect()

    def close(self):
        self.connection.close()

    def send(self, method, target, document=None):
        self.connection.send_request(method, target, document, JSON_TYPE if document is not None else ())

    def begin(self, method, target, document=None):
        """send(), and the wait until the server has it."""
        self.send(method, target, document)
        self.connection.wait_until_read()

    def has_reply(self):
        """Whether something of a reply is there by now."""
        return bool(select.select([self.connection.socket], [], [], 0)[0])

    def receive(self):
        response = self.connection.read_response()
        return response.status, json.loads(response.body)

    def call(self, method, target, document=None):
        self.send(method, target, document)
        return self.receive()

    def get(self, target):
        return self.call("GET", target)

    def post(self, target, document):
        return self.call("POST", target, document)

    def execute(self, commands):
        """A batch that must succeed; in pieces of 1000 if it is larger."""
        for start in range(0, len(commands), 1000):
            status, document = self.post("/v1/execute", {"commands": commands[start:start + 1000]})
            assert status == 200, (status, document)


class Crowd:
    """A client for each request of a burst: all are sent before the first reply is read."""

    def __init__(self, server, size):
        self.clients = [Client(server) for _ in range(size)]

    def close(self):
        for client in self.clients:
            client.close()

    def burst(self, requests):
        """requests: (target, document), POSTed; their (status, document) in the same order."""
        assert len(requests) <= len(self.clients)
        busy = self.clients[:len(requests)]
        for client, (target, document) in zip(busy, requests):
            client.send("POST", target, document)
        return [client.receive() for client in busy]
