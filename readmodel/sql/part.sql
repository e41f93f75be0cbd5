-- The events that lie at these places, newest first, as columns; `entries` as the type index holds them. $1 places.
:rendered
      WHERE e.ctid = ANY ($1::text[]::tid[]) ORDER BY e.timestamp DESC, e.id DESC) r
