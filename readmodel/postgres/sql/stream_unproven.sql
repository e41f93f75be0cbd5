  SELECT NULL::bigint AS writer, NULL::bigint AS top WHERE $6::bigint IS NULL
