"""What any answer over HTTP is made of: fields, problems, ids, and what the log tells of a request."""
