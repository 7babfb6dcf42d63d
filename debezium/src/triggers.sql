CREATE SCHEMA IF NOT EXISTS freshet;

-- Tells a channel (the first argument) which rows of a table (the second) a statement has changed, by the columns of the
-- primary key (the others). Beyond 1000 rows, and where there is no key, it tells of the table; so it does of a key that has
-- no room in a notification.
CREATE OR REPLACE FUNCTION freshet.tell() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- A key has one spelling, whatever the session is used to.
SET timezone = 'UTC' SET bytea_output = 'hex' SET intervalstyle = 'postgres' SET extra_float_digits = 1 AS $freshet$
DECLARE
  head CONSTANT text := '{"freshet":1,"kind":"change","table":' || to_json(TG_ARGV[1]) || ',"op":"';
  by_row CONSTANT boolean := TG_LEVEL = 'ROW';
  most CONSTANT integer := 1000;
  counted integer;
  key text;
  query text;
  op text;
  row_key text;
  payload text;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify(TG_ARGV[0], head || 'truncate"}');
    RETURN NULL;
  END IF;
  IF by_row THEN
    -- Of partitions there are no statements to be counted: it is the transaction's rows.
    counted := coalesce(nullif(current_setting('freshet.rows', true), '')::integer, 0) + 1;
    PERFORM set_config('freshet.rows', counted::text, true);
  ELSIF TG_OP = 'INSERT' THEN
    SELECT count(*) INTO counted FROM (SELECT FROM new_rows LIMIT most + 1) AS changed;
  ELSE
    SELECT count(*) INTO counted FROM (SELECT FROM old_rows LIMIT most + 1) AS changed;
  END IF;
  IF counted = 0 THEN
    RETURN NULL;
  END IF;
  -- Instants end with Z, as Debezium writes them.
  SELECT 'json_build_object(' || string_agg(format('%1$L, CASE WHEN pg_typeof(r.%1$I) = ''timestamptz''::regtype '
    || 'THEN to_json(replace(to_json(r.%1$I) #>> ''{}'', ''+00:00'', ''Z'')) ELSE to_json(r.%1$I) END', name),
    ', ' ORDER BY place) || ')::text' INTO key FROM unnest(TG_ARGV[2:]) WITH ORDINALITY AS columns(name, place);
  IF key IS NULL OR counted > most THEN
    -- The same words again in one transaction are said once.
    PERFORM pg_notify(TG_ARGV[0], head || lower(TG_OP) || '"}');
    RETURN NULL;
  END IF;
  query := 'SELECT %1$s FROM ' || CASE WHEN by_row THEN '(SELECT ($%2$s).*)' ELSE '%3$s' END || ' AS r';
  query := CASE TG_OP
    WHEN 'INSERT' THEN 'SELECT ''insert'', key FROM (' || format(query, key, 2, 'new_rows') || ') AS n(key)'
    WHEN 'DELETE' THEN 'SELECT ''delete'', key FROM (' || format(query, key, 1, 'old_rows') || ') AS o(key)'
    -- A row that has another key now is gone, and another one is there.
    ELSE 'SELECT CASE WHEN o.key IS NULL THEN ''insert'' WHEN n.key IS NULL THEN ''delete'' ELSE ''update'' END, '
      || 'coalesce(n.key, o.key) FROM (' || format(query, key, 1, 'old_rows') || ') AS o(key) FULL JOIN ('
      || format(query, key, 2, 'new_rows') || ') AS n(key) ON n.key = o.key'
  END;
  FOR op, row_key IN EXECUTE query USING OLD, NEW LOOP
    payload := head || op || '","key":' || row_key || '}';
    IF octet_length(payload) > 7999 THEN
      payload := head || op || '","oversized":true}';
    END IF;
    PERFORM pg_notify(TG_ARGV[0], payload);
  END LOOP;
  RETURN NULL;
END
$freshet$;

-- Puts the triggers of a channel onto a table, in place of those that it had: to be called again when the table's primary key
-- has changed, or partitions were added.
CREATE OR REPLACE FUNCTION freshet.install(channel text, name text, target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $freshet$
DECLARE
  tag CONSTANT text := 'freshet_' || CASE WHEN channel ~ '^[a-z0-9_]{1,40}$' THEN channel ELSE md5(channel) END;
  kind "char";
  by_row boolean;
  arguments text;
  event text;
  seen text;
  part regclass;
BEGIN
  SELECT relkind, relkind = 'p' OR relispartition OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = target)
    INTO kind, by_row FROM pg_class WHERE oid = target;
  IF kind NOT IN ('r', 'p') THEN
    RAISE EXCEPTION '% isn''t a table, and has no triggers that could tell of its rows', target;
  END IF;
  SELECT string_agg(format('%L', argument), ', ' ORDER BY place) INTO arguments FROM (
    VALUES (channel, -1::bigint), (name, 0)
    UNION ALL
    SELECT attname, place FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS columns(number, place)
      JOIN pg_attribute ON attrelid = indrelid AND attnum = number
      WHERE indrelid = target AND indisprimary AND place <= indnkeyatts
  ) AS all_of_them(argument, place);
  FOREACH event IN ARRAY '{row,insert,update,delete}'::text[] LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', tag || '_' || event, target);
    CONTINUE WHEN by_row <> (event = 'row');
    seen := CASE event
      WHEN 'row' THEN 'INSERT OR UPDATE OR DELETE ON %2$s FOR EACH ROW'
      WHEN 'insert' THEN 'INSERT ON %2$s REFERENCING NEW TABLE AS new_rows'
      WHEN 'update' THEN 'UPDATE ON %2$s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'
      ELSE 'DELETE ON %2$s REFERENCING OLD TABLE AS old_rows'
    END;
    EXECUTE format('CREATE TRIGGER %1$I AFTER ' || seen || ' EXECUTE FUNCTION freshet.tell(%3$s)',
      tag || '_' || event, target, arguments);
    -- Also where changes are applied that were made elsewhere.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', target, tag || '_' || event);
  END LOOP;
  FOR part IN SELECT target UNION SELECT relid FROM pg_partition_tree(target) LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', tag || '_truncate', part);
    EXECUTE format('CREATE TRIGGER %I AFTER TRUNCATE ON %s EXECUTE FUNCTION freshet.tell(%s)',
      tag || '_truncate', part, arguments);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', part, tag || '_truncate');
  END LOOP;
END
$freshet$;
