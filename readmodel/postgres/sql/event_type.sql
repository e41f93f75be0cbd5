-- A type as polls and indexes compare it: by bytes, whatever its column's collation takes for the same.
e.event_type::text COLLATE pg_catalog."C"
