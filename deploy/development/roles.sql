-- For development. The application's role owns the tables and installs; readside's own may connect, and gets by
-- `readside install --role readside` the right to read, and no more. Writers here use the application's.
CREATE ROLE application LOGIN PASSWORD 'development-owner';
CREATE ROLE readside LOGIN PASSWORD 'development-reader';
REVOKE CONNECT, TEMPORARY ON DATABASE sessions FROM PUBLIC;
GRANT CONNECT, CREATE ON DATABASE sessions TO application;
GRANT CONNECT ON DATABASE sessions TO readside;
ALTER TABLE sessions OWNER TO application;
ALTER TABLE events OWNER TO application;
