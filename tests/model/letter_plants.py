"""Bugs to be planted against the letterbox, one for each of its rules."""

from tests.model.planting import Plant

LETTER_PLANTS = {
    "skipped letters are not counted": Plant(
        "when the counter of skipped letters moved the view is compared before as-of moves",
        "projector.core.skips:Skips.note",
        "moved, ended = count != self.count, ",
        "moved, ended = False, ",
        ("frozen", "lead_lost"),
    ),
    "holders are ignored": Plant(
        "when a transaction ended that may have skipped a letter the view is compared before as-of moves",
        "projector.core.skips:Skips.note",
        "bool(self.holders - held)",
        "False",
        ("lead_lost", "clock_set", "stay_open"),
    ),
    "a holder that prepares is let go": Plant(
        "a holder that prepares its commit is one still, under another name",
        "projector.core.skips:Skips.note",
        "self.holders |= {",
        "if moved: self.holders |= {",
        ("clock_set", "prepare", "stay_open"),
    ),
    "transactions that were under way are forgotten": Plant(
        "a reading has the letters of those who were under way when the snapshot before it was taken",
        "fresh_letters.sql",
        "letters_0 WHERE txid = ANY",
        "letters_0 WHERE false AND txid = ANY",
        ("stay_open",),
        (
            ("fresh_letters.sql", "letters_1 WHERE txid = ANY", "letters_1 WHERE false AND txid = ANY"),
            ("fresh_letters.sql", "letters_2 WHERE txid = ANY", "letters_2 WHERE false AND txid = ANY"),
        ),
    ),
    "another reader is ignored": Plant(
        "a beat, or a renewal, that finds another reader ends the term",
        "projector.tail.letterbox:Letterbox.read",
        'if head["reader"] not in {None, self._me}:',
        "if False:",
        ("another_reader", "hidden_crash"),
        (
            ("projector.tail.letterbox:Letterbox.renew", "ring, lease_ms) is None:", "ring, lease_ms) is ...:"),
            (
                "renew.sql",
                'WHERE (SELECT last_value FROM "{schema}".reader) = $1::bigint',
                "WHERE $1::bigint IS NOT NULL",
            ),
        ),
    ),
    "a deposed reader empties": Plant(
        "only who reads now empties a table",
        "triggers.sql",
        ' OR (SELECT last_value FROM "{schema}".reader) <> me THEN',
        " THEN",
        ("another_reader", "dawdle", "delete"),
    ),
    "letters are emptied unread": Plant(
        "a table is emptied when its letters were read, all of them",
        "triggers.sql",
        "txid >= pg_snapshot_xmax($1)",
        "false",
        ("dawdle", "another_reader"),
        (("triggers.sql", "txid = ANY (ARRAY(SELECT pg_snapshot_xip($1)))", "false"),),
    ),
    "letters are looked at before the lock": Plant(
        "whether all was read is looked at after the lock",
        "triggers.sql",
        """    EXECUTE format('LOCK TABLE "{schema}".letters_%s IN ACCESS EXCLUSIVE MODE NOWAIT', turn);""",
        "    NULL;",
        ("stay_open", "add_many"),
    ),
    "holders are listed first": Plant(
        "the holders are listed later than the counter is read",
        "projector.tail.reader:LetterReader.begin",
        "self._skips.count = await self.letterbox.begin()",
        "self._skips.holders = await self.letterbox.holders()\n    self._skips.count = await self.letterbox.begin()",
        ("crash", "stay_open"),
        (
            (
                "projector.tail.reader:LetterReader.begin",
                "self._skips.holders = await self.letterbox.holders()  # later than the counter was read",
                "pass",
            ),
        ),
    ),
    "the first reading continues the comparison's end": Plant(
        "the snapshot that the first reading continues is older than the comparison",
        "projector.term:Term._go",
        "await self._catch_up()",
        "await self._catch_up()\n    await self._feed._letterbox.begin_reading()",
        ("lead_lost",),
    ),
    "a term is told of before letters are read": Plant(
        "others hear of a term when what changes from then on is read",
        "projector.feed:Feed.begin",
        "holders = await self._reader.begin()",
        "holders = 0",
        ("lead_lost",),
        (
            (
                "projector.term:Term._begin",
                "self._here.term = self.id",
                "await self._feed._reader.begin()\n    self._here.term = self.id",
            ),
        ),
    ),
    "as-of moves before the comparison": Plant(
        "as-of moves after the comparison that skipped letters ask for",
        "projector.feed:Feed._judged",
        "if await self._reader.in_doubt(reading) or changed:",
        "again, self._again = getattr(self, '_again', False), await self._reader.in_doubt(reading)\n    if again:",
        ("clock_set", "frozen"),
    ),
    "loads go on through skipped letters": Plant(
        "a load that had begun when letters were skipped starts over",
        "projector.term:Term._compare_again",
        "letters.look([*sessions.begun_loads(), *sessions.aside])",
        "letters.look(sessions.aside)",
        ("clock_set", "key_lost", "index_lost"),
    ),
    "cold sessions are not named": Plant(
        "when letters were skipped every session is named, for answers of cold ones are kept too",
        "projector.term:Term._step_for_ever",
        "await self._compare_again(letters)",
        "await self._compare_again(letters)\n            letters.incomplete = False",
        ("clock_set",),
    ),
    "a skipped status is lost": Plant(
        "the comparison for skipped letters takes the statuses too",
        "projector.term:Term._compare_again",
        "letters.rows |= ",
        "_ = ",
        ("clock_set", "status"),
    ),
    "one table is read": Plant(
        "a reading reads all three tables, whichever is in use",
        "projector.tail.letterbox:Letterbox.read",
        'self._sql["quiet"]',
        '__import__("re").sub("letters_[0-2]", f"letters_{self.turn}", self._sql["quiet"])',
        ("dawdle",),
        (
            (
                "projector.tail.letterbox:Letterbox.read",
                'self._sql["busy"]',
                '__import__("re").sub("letters_[0-2]", f"letters_{self.turn}", self._sql["busy"])',
            ),
        ),
    ),
    "prepared transactions are no holders": Plant(
        "every prepared transaction is a holder: a crash keeps it and loses its letters",
        "holders.sql",
        "UNION\nSELECT 'prepared ' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()",
        "",
        ("crash", "prepare", "status"),
    ),
}
