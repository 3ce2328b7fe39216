"""The signature worker: the same answers as in this process, whoever stops waiting for them."""

import asyncio

from lotmark.ed25519 import PrivateKey
from lotmark_node.engine.signature_worker import OFFLOADED_MIN, SignatureWorker, Signed
from tests.node.engine.running_engine import run
from tests.proto.sample_genesis import private_key

KEY = private_key("admit")
AUTHORS = [private_key(f"author {number}") for number in range(5)]


def signed_by(author: PrivateKey, number: int, *, holds: bool) -> Signed:
    message = number.to_bytes(4) * (1 + number % 100)
    signature = author.sign(message)
    if not holds:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return author.public, message, signature


def mixture(count: int) -> tuple[list[Signed], list[bool]]:
    holding = [number % 3 != 0 for number in range(count)]
    signed = [
        signed_by(AUTHORS[number % 5], number, holds=holds) for number, holds in enumerate(holding)
    ]
    return signed, holding


def test_few_and_many_signatures_are_judged_alike() -> None:
    async def scenario() -> None:
        worker = SignatureWorker(KEY)
        for count in (0, 1, OFFLOADED_MIN - 1, OFFLOADED_MIN, 300):
            signed, holding = mixture(count)
            assert await worker.verify_many(signed) == holding
            messages = [message for _, message, _ in signed]
            made = await worker.sign_many(messages)
            assert made == [KEY.sign(message) for message in messages]
        worker.stop()

    run(scenario())


def test_a_signature_or_key_of_another_size_does_not_hold_and_spoils_no_other() -> None:
    async def scenario() -> None:
        worker = SignatureWorker(KEY)
        signed, holding = mixture(20)
        assert await worker.verify_many(signed) == holding
        signed[4] = (signed[4][0], b"", signed[4][2])
        holding[4] = False
        assert await worker.verify_many(signed) == holding
        worker.stop()

    run(scenario())


def test_callers_that_are_cancelled_leave_the_others_their_own_answers() -> None:
    """A stream that its client closes is cancelled wherever it waits."""

    async def scenario() -> None:
        worker = SignatureWorker(KEY)
        good = [signed_by(AUTHORS[0], number, holds=True) for number in range(200)]
        bad = [signed_by(AUTHORS[0], number, holds=False) for number in range(200)]
        for delay_s in (0, 0, 0.0005, 0.001, 0.002, 0.004):
            abandoned = [asyncio.ensure_future(worker.verify_many(good)) for _ in range(2)]
            await asyncio.sleep(delay_s)
            for each in abandoned:
                each.cancel()
            refused, held, made = await asyncio.gather(
                worker.verify_many(bad), worker.verify_many(good), worker.sign_many([b"x"] * 9)
            )
            assert (refused, held) == ([False] * 200, [True] * 200)
            assert made == [KEY.sign(b"x")] * 9
        worker.stop()

    run(scenario())


def test_many_callers_at_once_each_get_their_own_answers() -> None:
    async def scenario() -> None:
        worker = SignatureWorker(KEY)
        asked = [mixture(count) for count in (5, 50, 7, 120, 33, 4)]
        found = await asyncio.gather(*[worker.verify_many(signed) for signed, _ in asked])
        assert found == [holding for _, holding in asked]
        worker.stop()

    run(scenario())


def test_after_its_stop_signatures_are_made_here() -> None:
    async def scenario() -> None:
        worker = SignatureWorker(KEY)
        worker.stop()
        signed, holding = mixture(30)
        assert await worker.verify_many(signed) == holding
        assert await worker.sign_many([b"x"] * 30) == [KEY.sign(b"x")] * 30

    run(scenario())
