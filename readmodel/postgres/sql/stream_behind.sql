-- Within a long answer: behind the instant $9 (µs) and the id $10.
AND (:instant, e.id) > ('epoch'::timestamptz + ($9::bigint / 1000000::bigint)::float8 * interval '1 second'
                          + ($9::bigint % 1000000::bigint)::float8 * interval '1 microsecond', $10::uuid)
