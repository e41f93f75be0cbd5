e.id = pg_catalog.encode(pg_catalog.substr(page.id, 1, 16), 'hex')::uuid AND e.session_id = $1
                        AND e.timestamp = page.timestamp AND :key = page.id
