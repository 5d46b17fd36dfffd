"""A program that keeps a router as its child, in Python: `python3 router_client.py CODESWARM CONFIG`.

Prints one JSON object about what it saw, and exits with 1 if anything was not as promised.
"""

import json
import subprocess
import sys
import threading
import time
import uuid

NODES = 2


class Router:
    """`codeswarm router --daemon` on pipes."""

    def __init__(self, program, config):
        command = [program, "router", "--config", config, "--daemon"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")
        self.events = []
        self.stray = []
        self.log = []
        # The router remembers names for ever, so they must differ from those of earlier runs.
        self.run = uuid.uuid4()
        self.requests = 0
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self.read_events), threading.Thread(target=self.read_log)]
        for thread in self.threads:
            thread.daemon = True
            thread.start()

    def read_events(self):
        for line in self.process.stdout:
            with self.changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.stray.append(line)
                self.changed.notify_all()

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def send(self, **command):
        """Sends a command; returns its name."""
        self.requests += 1
        command["request_id"] = f"{self.run}-{self.requests}"
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return command["request_id"]

    def event(self, **fields):
        """Waits for the first event, from the very first on, with these fields."""

        def found():
            return next((e for e in self.events if all(e.get(k) == v for k, v in fields.items())), None)

        with self.changed:
            if not self.changed.wait_for(found, timeout=60):
                raise TimeoutError(f"no event with {fields}")
            return found()

    def all(self, **fields):
        with self.changed:
            return [e for e in self.events if all(e.get(k) == v for k, v in fields.items())]


def conversation(router):
    launch = router.send(command="swarm_launch", nodes=NODES)
    swarm_id = router.event(type="swarm_launched", request_id=launch)["swarm_id"]
    router.event(type="swarm_status", swarm_id=swarm_id, status="running")

    prompt = "Grüße\u2028aus Python [[echo deltas=20 pace_ms=1]]"
    inject = router.send(command="inject", swarm_id=swarm_id, nodes="all", content=prompt)
    answers = []
    for node in range(NODES):
        end = router.event(type="turn_complete", request_id=inject, node_id=node)
        assert end["status"] == "completed", end
        deltas = router.all(type="assistant_delta", request_id=inject, node_id=node)
        whole = router.event(type="assistant", request_id=inject, node_id=node)
        assert "".join(e["content"] for e in deltas) == whole["content"], "the deltas make another text"
        answers.append(whole["content"])

    refused = router.send(command="inject", swarm_id=swarm_id, nodes=NODES, content="nobody")
    refusal = router.event(request_id=refused)
    assert (refusal["type"], refusal["code"]) == ("command_rejected", "node_out_of_range"), refusal

    router.send(command="swarm_terminate", swarm_id=swarm_id)
    router.event(type="swarm_terminated", swarm_id=swarm_id)
    return answers


def main():
    program, config = sys.argv[1:]
    router = Router(program, config)
    try:
        answers = conversation(router)
        began = time.monotonic()
        router.process.stdin.close()
        code = router.process.wait(timeout=60)
        leaving_ms = round((time.monotonic() - began) * 1000)
        for thread in router.threads:
            thread.join(timeout=60)
        assert not router.stray, f"not JSON: {router.stray[0]}"
    except BaseException:
        router.process.kill()
        print("the router's log:", "".join(router.log), file=sys.stderr)
        print("its events:", json.dumps(router.events, indent=1), file=sys.stderr)
        raise
    print(json.dumps({"answers": answers, "code": code, "leaving_ms": leaving_ms, "events": len(router.events)}))


if __name__ == "__main__":
    main()
