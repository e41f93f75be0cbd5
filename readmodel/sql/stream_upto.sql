-- Within a long answer: nothing that is certainly not in the cut up to which it goes ($7 its xmax, $8 its open ids). That
-- comes behind it.
AND (r.xid >= $7::bigint OR r.xid = ANY ($8::bigint[]) OR p.top = ANY ($8::bigint[])) IS NOT true
