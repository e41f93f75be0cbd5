-- The transaction that wrote this version of a row, in 64 bits: the latest id that it can be, below our snapshot's xmax.
(snapshot.xmax - 1::bigint - ((snapshot.xmax - 1::bigint - e.xmin::text::bigint) & 4294967295::bigint))
