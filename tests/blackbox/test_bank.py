"""The demo's bank does what demos/README.md says."""
import os
import unittest

from clients import Client
from server import SOURCE, Server, ServerCase

BANK = os.path.join(SOURCE, "demos", "bank.lua")
CENTS_MAX = 10**12


class Bank(ServerCase):
    app = BANK
    shards = 2

    def setUp(self):
        """Every test starts with ann, who has 5000, and bob, who has nothing."""
        self.client = Client(self.server)
        self.addCleanup(self.client.close)
        _, page = self.client.get("/v1/range?prefix=acc:")
        commands = [{"cmd_type": "delete", "key": item["key"]} for item in page["items"]]
        commands += [{"cmd_type": "set", "key": "acc:ann", "value": {"balance": 5000}},
                     {"cmd_type": "set", "key": "acc:bob", "value": {"balance": 0}}]
        self.client.execute(commands)

    def asks(self, route, document, status, *rest):
        """POSTs; checks the status and, if given, the whole reply."""
        answered, reply = self.client.post(f"/fn/{route}", document)
        self.assertEqual(answered, status, reply)
        if rest:
            self.assertEqual(reply, rest[0])
        elif status >= 400:
            self.assertIsInstance(reply["error"], str)
        return reply

    def balance(self, account):
        status, reply = self.client.get(f"/fn/balance?account={account}")
        self.assertEqual(status, 200, reply)
        return reply["balance"]

    def assert_unchanged(self):
        self.assertEqual((self.balance("ann"), self.balance("bob")), (5000, 0))

    def test_open_with_and_without_name_and_balance(self):
        """An account gets the name and balance asked for; a name of its own and 0 otherwise."""
        self.asks("open", {"id": "cyd", "balance": 7}, 201, {"account": "cyd", "balance": 7})
        self.asks("open", {"id": "dan"}, 201, {"account": "dan", "balance": 0})
        first, second = self.asks("open", {}, 201), self.asks("open", {}, 201)
        self.assertNotEqual(first["account"], second["account"])
        self.assertEqual(self.balance(first["account"]), 0)

    def test_open_twice_is_refused(self):
        """A second account of a name is a 409 and leaves the first alone."""
        self.asks("open", {"id": "ann", "balance": 1}, 409)
        self.assert_unchanged()

    def test_deposit(self):
        """A deposit adds to the balance."""
        self.asks("deposit", {"account": "bob", "amount": 300}, 200, {"account": "bob", "balance": 300})
        self.assertEqual(self.balance("bob"), 300)

    def test_transfer(self):
        """A transfer moves the amount and answers both balances."""
        self.asks("transfer", {"from": "ann", "to": "bob", "amount": 1250}, 200,
                  {"from": {"balance": 3750}, "to": {"balance": 1250}})
        self.assertEqual((self.balance("ann"), self.balance("bob")), (3750, 1250))

    def test_transfer_of_all_there_is(self):
        """The last cent may go, one more may not."""
        self.asks("transfer", {"from": "ann", "to": "bob", "amount": 5001}, 409, {"error": "insufficient funds"})
        self.assert_unchanged()
        self.asks("transfer", {"from": "ann", "to": "bob", "amount": 5000}, 200)
        self.assertEqual((self.balance("ann"), self.balance("bob")), (0, 5000))

    def test_unknown_accounts_are_404(self):
        """Nothing happens to the known account of a transfer with an unknown one."""
        self.asks("transfer", {"from": "ann", "to": "eve", "amount": 1}, 404)
        self.asks("transfer", {"from": "eve", "to": "ann", "amount": 1}, 404)
        self.asks("deposit", {"account": "eve", "amount": 1}, 404)
        self.assertEqual(self.client.get("/fn/balance?account=eve")[0], 404)
        self.assert_unchanged()

    def test_a_transfer_to_oneself_is_400(self):
        """One account cannot be both ends, not even under two spellings of its name."""
        self.asks("transfer", {"from": "ann", "to": "ann", "amount": 1}, 400)
        self.asks("open", {"id": 17, "balance": 10}, 201)
        self.asks("transfer", {"from": 17, "to": "17", "amount": 1}, 400)
        self.assertEqual(self.balance(17), 10)

    def test_bad_amounts_are_400(self):
        """Amounts are whole, positive cents within bounds; a float that is whole is none."""
        for amount in (0, -1, 1.5, 2.0, "5", True, None, [], CENTS_MAX + 1, 2**63 - 1):
            with self.subTest(amount=amount):
                self.asks("transfer", {"from": "ann", "to": "bob", "amount": amount}, 400)
                self.asks("deposit", {"account": "ann", "amount": amount}, 400)
        self.asks("transfer", {"from": "ann", "to": "bob"}, 400)
        self.asks("open", {"id": "fay", "balance": -1}, 400)
        self.assertEqual(self.client.get("/fn/balance?account=fay")[0], 404)
        self.assert_unchanged()

    def test_bad_names_are_400(self):
        """A name is 1 to 64 bytes or an integer."""
        for name in ("", "x" * 65, 1.5, True, {}, []):
            with self.subTest(name=name):
                self.asks("open", {"id": name}, 400)
                self.asks("deposit", {"account": name, "amount": 1}, 400)
        self.asks("open", {"id": "x" * 64}, 201)

    def test_a_balance_has_a_bound(self):
        """What would pass it is refused as a whole."""
        self.asks("open", {"id": "max", "balance": CENTS_MAX}, 201)
        self.asks("deposit", {"account": "max", "amount": 1}, 409)
        self.asks("transfer", {"from": "ann", "to": "max", "amount": 1}, 409)
        self.assertEqual((self.balance("max"), self.balance("ann")), (CENTS_MAX, 5000))

    def test_total(self):
        """The total is the sum of all accounts, moved money included once."""
        self.assertEqual(self.client.get("/fn/total"), (200, {"total": 5000, "accounts": 2}))
        self.asks("transfer", {"from": "ann", "to": "bob", "amount": 1}, 200)
        self.asks("deposit", {"account": "bob", "amount": 10}, 200)
        self.assertEqual(self.client.get("/fn/total"), (200, {"total": 5010, "accounts": 2}))

    def test_methods(self):
        """Reading routes take GET, writing ones POST; others are 405."""
        self.assertEqual(self.client.get("/fn/transfer")[0], 405)
        self.assertEqual(self.client.post("/fn/total", {})[0], 405)


class BankRestart(unittest.TestCase):
    def test_balances_survive_kill(self):
        """What was acknowledged before a kill -9 is there after it, with another number of shards."""
        server = Server(app=BANK, shards=2)
        self.addCleanup(server.remove)
        server.start()
        client = Client(server)
        self.assertEqual(client.post("/fn/open", {"id": "ann", "balance": 10})[0], 201)
        self.assertEqual(client.post("/fn/open", {"id": "bob"})[0], 201)
        self.assertEqual(client.post("/fn/transfer", {"from": "ann", "to": "bob", "amount": 4})[0], 200)
        client.close()
        server.restart(shards=3, kill=True)
        client = Client(server)
        self.addCleanup(client.close)
        self.assertEqual(client.get("/fn/balance?account=ann"), (200, {"account": "ann", "balance": 6}))
        self.assertEqual(client.get("/fn/total"), (200, {"total": 10, "accounts": 2}))


if __name__ == "__main__":
    unittest.main()
