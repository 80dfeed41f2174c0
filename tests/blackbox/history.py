"""Checks that a recorded history of transactions is strictly serializable.

The data are lists, and a write appends a number that nobody else appends. So a list that was read tells,
in order, every write before it: the order of versions need not be guessed (Kingsbury and Alvaro, "Elle",
2020). From it follow the edges that every serial order has to respect:

    ww  a appended right before b's append        wr  a appended the last element that b read
    rw  a read a list to which b appended next    rt  a's reply came before b's request was sent

The history is strictly serializable exactly if these edges have no cycle. Checked besides: what was
acknowledged is there; what was refused is not; all reads of a key are prefixes of its final list.
"""


class Anomaly(Exception):
    """The history has no serial order; the text tells why."""


class Txn:
    """One transaction as its client saw it.

    outcome: True (acknowledged), False (the server said that nothing was written) or None (no reply).
    appends: [(key, number)] in program order; reads: {key: the list seen before its own appends}.
    """

    def __init__(self, number, sent, received, outcome, appends, reads):
        self.number = number
        self.sent = sent
        self.received = received
        self.outcome = outcome
        self.appends = appends
        self.reads = reads

    def __repr__(self):
        return "T%d(appends %r, read %r, outcome %r)" % (self.number, self.appends, self.reads, self.outcome)


def check(txns, final):
    """Raises Anomaly unless the transactions and the final lists {key: list} fit a serial order."""
    writer = _writers(txns)
    _check_final(txns, final, writer)
    _check_reads(txns, final)
    graph = _edges(txns, final, writer)
    cycle = _cycle(graph)
    if cycle:
        raise Anomaly("a cycle: " + " -> ".join(repr(node) for node in cycle if isinstance(node, Txn)))


def _writers(txns):
    writer = {}
    for txn in txns:
        for key, number in txn.appends:
            if (key, number) in writer:
                raise AssertionError("the test appended %r twice" % ((key, number),))
            writer[key, number] = txn
    return writer


def _check_final(txns, final, writer):
    """Acknowledged appends are there once, refused ones not, and none is there in part."""
    places = {}
    for key, numbers in final.items():
        for place, number in enumerate(numbers):
            if (key, number) not in writer:
                raise Anomaly("%r holds %r, which nobody appended" % (key, number))
            if (key, number) in places:
                raise Anomaly("%r holds %r twice" % (key, number))
            places[key, number] = place
    for txn in txns:
        there = [append in places for append in txn.appends]
        if txn.outcome and not all(there):
            raise Anomaly("acknowledged but lost: %r" % txn)
        if txn.outcome is False and any(there):
            raise Anomaly("refused but written: %r" % txn)
        if there and any(there) != all(there):
            raise Anomaly("written in part: %r" % txn)
        for key in {key for key, _ in txn.appends}:
            mine = [places[append] for append in txn.appends if append[0] == key and append in places]
            if mine != list(range(mine[0], mine[0] + len(mine)) if mine else ()):
                raise Anomaly("another append came between those to %r of %r" % (key, txn))


def _check_reads(txns, final):
    for txn in txns:
        for key, seen in txn.reads.items():
            if seen != final.get(key, [])[:len(seen)]:
                raise Anomaly("%r read %r of %r, whose history is %r" % (txn, seen, key, final.get(key)))


def _edges(txns, final, writer):
    """{node: set of nodes that come later}; a node is a Txn or a point in time (see below)."""
    graph = {txn: set() for txn in txns}

    def edge(before, after):
        if before is not after:
            graph[before].add(after)

    for key, numbers in final.items():
        for first, second in zip(numbers, numbers[1:]):
            edge(writer[key, first], writer[key, second])
    for txn in txns:
        for key, seen in txn.reads.items():
            numbers = final.get(key, [])
            if seen:
                edge(writer[key, seen[-1]], txn)
            if len(seen) < len(numbers):
                edge(txn, writer[key, numbers[len(seen)]])
    # Real time: one chain of points instead of an edge for each pair. A transaction comes before the
    # point of its reply, and after the last point before its request was sent.
    point = None
    events = [(txn.sent, 1, txn) for txn in txns]
    events += [(txn.received, 0, txn) for txn in txns if txn.outcome]
    for _, sent, txn in sorted(events, key=lambda event: event[:2]):
        if not sent:
            previous, point = point, ("reply", txn.number)
            graph[point] = set()
            edge(txn, point)
            if previous is not None:
                edge(previous, point)
        elif point is not None:
            edge(point, txn)
    return graph


def _cycle(graph):
    """A cycle as a list of nodes, or None. Depth first, with a stack of its own: histories are long."""
    done, path, on_path = set(), [], {}
    for root in graph:
        stack = [(root, None)]
        while stack:
            node, successors = stack.pop()
            if successors is None:
                if node in done:
                    continue
                on_path[node] = len(path)
                path.append(node)
                successors = iter(graph[node])
            for successor in successors:
                if successor in on_path:
                    return path[on_path[successor]:] + [successor]
                if successor not in done:
                    stack.append((node, successors))
                    stack.append((successor, None))
                    break
            else:
                done.add(node)
                path.pop()
                del on_path[node]
    return None
