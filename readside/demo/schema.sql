-- The write side as given: two tables of other applications, which readside reads and never alters.

CREATE TABLE IF NOT EXISTS sessions (
  id uuid PRIMARY KEY,
  session_type varchar(50) NOT NULL,
  status varchar(20) NOT NULL,            -- pending | in_progress | paused | completed | failed | cancelled
  mode varchar(20) NOT NULL,
  project_path text NOT NULL,
  config jsonb NOT NULL,
  result jsonb,
  error_message text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  completed_at timestamptz
);

CREATE TABLE IF NOT EXISTS events (
  id uuid PRIMARY KEY,                    -- random: no order in it
  session_id uuid NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  step_id uuid,                           -- in production a foreign key to steps, ON DELETE CASCADE
  event_type varchar(100) NOT NULL,
  event_data jsonb NOT NULL,
  message text,
  timestamp timestamptz NOT NULL          -- set by the application: not the commit time, may repeat, may go back
);

CREATE INDEX IF NOT EXISTS ix_events_session_id ON events (session_id);
CREATE INDEX IF NOT EXISTS ix_events_step_id    ON events (step_id);
CREATE INDEX IF NOT EXISTS ix_events_event_type ON events (event_type);
CREATE INDEX IF NOT EXISTS ix_events_timestamp  ON events (timestamp);
