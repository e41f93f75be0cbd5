-- Within a long answer: nothing that is certainly not in the cut up to which it goes ($7 its xmax). That comes behind it.
AND (r.xid >= $7::bigint OR r.xid = ANY (cuts.upto_open) OR p.top = ANY (cuts.upto_open)
     OR r.came >= $7::bigint OR r.came = ANY (cuts.upto_open)) IS NOT true
