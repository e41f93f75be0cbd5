"""The applications: transactions side by side, short and long, with savepoints, rolled back, prepared, or slow."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from random import Random

from readmodel.runtime.supervise import end
from tests.model.postgres import Postgres
from tests.model.transactions import Aborted, Transaction
from tests.model.writers import Deeds, Statement

MOST_AT_ONCE = 6
LONG_SECONDS = 1.5
"""A long transaction, and a prepared one, stays open for so long at most: past a lease, and past a term."""
SHAPES = {"stay_open": 0.08, "prepare": 0.06, "savepoint": 0.15, "give_up": 0.08, "dawdle": 0.25}
"""How many of the transactions are of each shape."""


class Applications:
    """Begins transactions one after the other, whatever became of those before."""

    def __init__(self, postgres: Postgres, chance: Random, only: Collection[str] = ()) -> None:
        self._postgres = postgres
        self._chance = chance
        self._deeds = Deeds(chance, only)
        self._tasks: list[asyncio.Task[None]] = []
        self._mean_seconds = chance.choice((0.03, 0.06, 0.15))
        self._shapes = {
            shape: share * (6 if shape in only else 0.25 if only else chance.choice((0, 1, 4)))
            for shape, share in SHAPES.items()
        }

    async def write(self) -> None:
        """Begin transactions, for ever."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._mean_seconds))
            self.check()
            if len(self._tasks) < MOST_AT_ONCE:
                self._tasks.append(asyncio.create_task(self._run()))

    def check(self) -> None:
        """Raise what a transaction failed with."""
        ended = [task for task in self._tasks if task.done()]
        self._tasks = [task for task in self._tasks if not task.done()]
        for task in ended:
            task.result()

    async def stop(self) -> None:
        """End them where they are."""
        await end(self._tasks)

    def _is(self, shape: str) -> bool:
        return self._chance.random() < self._shapes[shape]

    async def _run(self) -> None:
        transaction = self._postgres.begin()
        try:
            await self._do(transaction)
            if self._is("give_up"):
                self._postgres.roll_back(transaction)
            elif self._is("prepare") and not transaction.rings:  # a transaction that rang cannot be prepared
                self._postgres.prepare(transaction)
                await self._stay_open()
                await self._finish_prepared(transaction)
            else:
                await self._postgres.commit(transaction)
        except Aborted:
            pass
        finally:
            if not transaction.prepared:
                self._postgres.roll_back(transaction)

    async def _finish_prepared(self, transaction: Transaction) -> None:
        if not transaction.ended and self._chance.random() < 0.2:
            self._postgres.roll_back(transaction)
        else:
            await self._postgres.commit(transaction)

    async def _do(self, transaction: Transaction) -> None:
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            savepoint = transaction.savepoint() if self._is("savepoint") else None
            for statement in self._deeds.draw(lambda session_id: self._postgres.seen(transaction, session_id)):
                if not self._postgres.lock(
                    transaction, [session_id for session_id, _ in statement.changes], exclusive=statement.exclusive
                ):
                    break  # it would wait for another
                await self._execute(transaction, statement)
            if savepoint and self._chance.random() < 0.5:
                transaction.check()
                self._postgres.roll_back_to(transaction, savepoint)
            if self._is("stay_open"):
                await self._stay_open()

    async def _execute(self, transaction: Transaction, statement: Statement) -> None:
        """Run a statement; one that dawdles does so between reading presence and its letter."""
        gap = 0.0
        if self._is("dawdle"):
            gap = self._chance.expovariate(1 / self._chance.choice((0.005, 0.02, 0.2)))
        await self._postgres.letterbox.write(transaction, statement.changes, statement.letters, gap)

    async def _stay_open(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, LONG_SECONDS))
