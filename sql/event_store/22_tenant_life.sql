/* the life of tenants beyond make and drop: hosts, clones, ready-made ones, drops that can be undone */

CREATE TABLE event_store.tenant_domain (
	host pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	tenant pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	is_primary pg_catalog.bool NOT NULL,
	CONSTRAINT tenant_domain_pkey PRIMARY KEY (host)
);
CREATE UNIQUE INDEX tenant_domain_primary ON event_store.tenant_domain (tenant) WHERE is_primary;
CREATE INDEX tenant_domain_tenant ON event_store.tenant_domain (tenant);
COMMENT ON TABLE event_store.tenant_domain
IS 'the hosts under which tenants are reached, in lower case, without www and port';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_domain', '');
REVOKE ALL ON TABLE event_store.tenant_domain FROM PUBLIC;

CREATE TABLE event_store.tenant_pool (
	schema pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	template pg_catalog.text COLLATE pg_catalog."C",
	with_data pg_catalog.bool NOT NULL,
	created_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT tenant_pool_pkey PRIMARY KEY (schema)
);
COMMENT ON TABLE event_store.tenant_pool
IS 'schemas that are ready to become a tenant''s, and what they were made from';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_pool', '');
REVOKE ALL ON TABLE event_store.tenant_pool FROM PUBLIC;

CREATE FUNCTION event_store.add_tenant_domain(name text, host text, is_primary boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_add_tenant_domain'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.add_tenant_domain(text, text, boolean)
IS 'lets a host lead to a tenant; the first one, or one that is said to be, is its primary';
REVOKE ALL ON FUNCTION event_store.add_tenant_domain(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.add_tenant_domain(text, text, boolean) TO PUBLIC;

CREATE FUNCTION event_store.remove_tenant_domain(host text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_remove_tenant_domain'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.remove_tenant_domain(text)
IS 'lets a host lead to no tenant any more';
REVOKE ALL ON FUNCTION event_store.remove_tenant_domain(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.remove_tenant_domain(text) TO PUBLIC;

CREATE FUNCTION event_store.tenant_for_host(host text)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_tenant_for_host'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.tenant_for_host(text)
IS 'the tenant that a host leads to, null if none; case, a port and a leading www do not count';
REVOKE ALL ON FUNCTION event_store.tenant_for_host(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_for_host(text) TO PUBLIC;

CREATE FUNCTION event_store.restore_tenant(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_restore_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.restore_tenant(text)
IS 'takes back the drop of a tenant that is being kept';
REVOKE ALL ON FUNCTION event_store.restore_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.restore_tenant(text) TO PUBLIC;

CREATE PROCEDURE event_store.purge_tenants(name text DEFAULT NULL, max_relations integer DEFAULT 5,
	INOUT purged bigint DEFAULT NULL, INOUT busy bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'event_store_purge_tenants'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.purge_tenants(text, integer, bigint, bigint)
IS 'removes dropped tenants that have been kept long enough, a few tables a transaction';
REVOKE ALL ON PROCEDURE event_store.purge_tenants(text, integer, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.purge_tenants(text, integer, bigint, bigint) TO PUBLIC;

CREATE FUNCTION event_store.clone_tenant(template text, name text, with_data boolean DEFAULT true, with_grants boolean DEFAULT false,
	attributes jsonb DEFAULT '{}')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_clone_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.clone_tenant(text, text, boolean, boolean, jsonb)
IS 'makes a tenant like another one, or like a schema: what is in it and, unless with_data is false, the rows and events';
REVOKE ALL ON FUNCTION event_store.clone_tenant(text, text, boolean, boolean, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.clone_tenant(text, text, boolean, boolean, jsonb) TO PUBLIC;

CREATE FUNCTION event_store.tenant_differences(tenant text, template text)
RETURNS TABLE (object text, expected text, found text)
AS 'MODULE_PATHNAME', 'event_store_tenant_differences'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.tenant_differences(text, text)
IS 'what a tenant has in its schema otherwise than another one, or a schema, has it';
REVOKE ALL ON FUNCTION event_store.tenant_differences(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_differences(text, text) TO PUBLIC;

CREATE PROCEDURE event_store.fill_tenant_pool(size integer, template text DEFAULT NULL, with_data boolean DEFAULT false)
AS 'MODULE_PATHNAME', 'event_store_fill_tenant_pool'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.fill_tenant_pool(integer, text, boolean)
IS 'keeps so many schemas ready from which create_tenant takes one; drops those that are too many';
REVOKE ALL ON PROCEDURE event_store.fill_tenant_pool(integer, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.fill_tenant_pool(integer, text, boolean) TO PUBLIC;

/*
 * What a schema holds, as statements that make it again.  Names are written as
 * the search_path has it: with the schema first on it, and pg_catalog named
 * after it, they are unqualified, and so mean the objects of whatever schema
 * stands there when the statements are run.  What has no statement cannot be
 * made again.
 */
CREATE VIEW event_store.schema_definition AS
WITH object AS NOT MATERIALIZED (
	SELECT d.refobjid AS schema_oid, d.classid, d.objid AS oid
	FROM pg_catalog.pg_depend d
	WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
		AND d.deptype OPERATOR(pg_catalog.=) 'n'::pg_catalog."char"
), relation AS NOT MATERIALIZED (
	SELECT c.*, o.schema_oid, pg_catalog.quote_ident(c.relname) AS name,
		c.relname OPERATOR(pg_catalog.=) ANY ('{event_log,event_streams,event_snapshots,event_commands,event_mark,event_position,event_tags,event_subscriptions,event_deliveries,event_handlers,event_parked,event_processes}')
			AND event_store.store_number(o.schema_oid) IS NOT NULL AS of_store
	FROM object o
	JOIN pg_catalog.pg_class c
		ON c.oid OPERATOR(pg_catalog.=) o.oid
	WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
		AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,S}'::pg_catalog."char"[])
), function AS NOT MATERIALIZED (
	SELECT p.*, o.schema_oid
	FROM object o
	JOIN pg_catalog.pg_proc p
		ON p.oid OPERATOR(pg_catalog.=) o.oid
	WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
		AND p.prokind OPERATOR(pg_catalog.<>) 'a'::pg_catalog."char"
), type AS NOT MATERIALIZED (
	SELECT t.*, o.schema_oid
	FROM object o
	JOIN pg_catalog.pg_type t
		ON t.oid OPERATOR(pg_catalog.=) o.oid
	WHERE o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
		AND t.typtype OPERATOR(pg_catalog.=) ANY ('{e,d,c}'::pg_catalog."char"[])
)
/* what cannot be made again */
SELECT o.schema_oid, 0 AS phase, o.oid AS object_oid,
	pg_catalog.concat(pg_catalog.pg_describe_object(o.classid, o.oid, 0),
		' of role ' OPERATOR(pg_catalog.||) CASE WHEN NOT pg_catalog.pg_has_role(w.owner, n.nspowner, 'USAGE')
			THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(w.owner)) END) AS object,
	NULL::pg_catalog.text AS statement
FROM object o
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) o.schema_oid
LEFT JOIN pg_catalog.pg_class c
	ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid OPERATOR(pg_catalog.=) o.oid
LEFT JOIN pg_catalog.pg_proc p
	ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid OPERATOR(pg_catalog.=) o.oid
LEFT JOIN pg_catalog.pg_type t
	ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid OPERATOR(pg_catalog.=) o.oid
CROSS JOIN LATERAL (VALUES (COALESCE(c.relowner, p.proowner, t.typowner))) AS w (owner)
WHERE CASE
	WHEN EXISTS (SELECT FROM pg_catalog.pg_depend e
		WHERE e.classid OPERATOR(pg_catalog.=) o.classid AND e.objid OPERATOR(pg_catalog.=) o.oid
			AND e.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char") THEN true
	/* all is made as the owner of the schema, who does not run the code of others */
	WHEN NOT pg_catalog.pg_has_role(w.owner, n.nspowner, 'USAGE') THEN true
	WHEN c.oid IS NOT NULL THEN c.relkind OPERATOR(pg_catalog.<>) ALL ('{r,v,m,S,c}'::pg_catalog."char"[]) OR c.relispartition
		OR c.reloftype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
		OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
			WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[i.inhrelid, i.inhparent]))
	WHEN p.oid IS NOT NULL THEN p.prokind OPERATOR(pg_catalog.=) 'a'::pg_catalog."char"
		OR EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) AS setting (line)
			WHERE setting.line OPERATOR(pg_catalog.~~) 'search\_path=%'
				AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.=)
					ANY (pg_catalog.string_to_array(pg_catalog.replace(pg_catalog.substr(setting.line, 13), '"', ''), ', ')))
	WHEN t.oid IS NOT NULL THEN t.typtype OPERATOR(pg_catalog.<>) ALL ('{e,d,c,m}'::pg_catalog."char"[])
	ELSE o.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass END
UNION ALL
/* types */
SELECT t.schema_oid, 1, t.oid, pg_catalog.concat('type ', t.typname),
	CASE t.typtype
		WHEN 'e' THEN pg_catalog.format('CREATE TYPE %I AS ENUM (%s)', t.typname, (
			SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder USING OPERATOR(pg_catalog.<))
			FROM pg_catalog.pg_enum e
			WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid))
		WHEN 'c' THEN pg_catalog.format('CREATE TYPE %I AS (%s)', t.typname, (
			SELECT pg_catalog.string_agg(pg_catalog.concat(pg_catalog.quote_ident(a.attname), ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
				CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) b.typcollation
					THEN pg_catalog.concat(' COLLATE ', a.attcollation::pg_catalog.regcollation) END),
				', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<))
			FROM pg_catalog.pg_attribute a
			JOIN pg_catalog.pg_type b
				ON b.oid OPERATOR(pg_catalog.=) a.atttypid
			WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND NOT a.attisdropped))
		ELSE pg_catalog.concat(pg_catalog.format('CREATE DOMAIN %I AS %s', t.typname, pg_catalog.format_type(t.typbasetype, t.typtypmod)),
			CASE WHEN t.typcollation OPERATOR(pg_catalog.<>) b.typcollation
				THEN pg_catalog.concat(' COLLATE ', t.typcollation::pg_catalog.regcollation) END,
			' DEFAULT ' OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(t.typdefaultbin, 0::pg_catalog.oid, true),
			CASE WHEN t.typnotnull THEN ' NOT NULL' END, (
			SELECT pg_catalog.string_agg(pg_catalog.format(' CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid, true)), '')
			FROM pg_catalog.pg_constraint k
			WHERE k.contypid OPERATOR(pg_catalog.=) t.oid AND k.contype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char")) END
FROM type t
LEFT JOIN pg_catalog.pg_type b
	ON b.oid OPERATOR(pg_catalog.=) t.typbasetype
UNION ALL
/* sequences; those of identity columns come with their tables */
SELECT r.schema_oid, 2, r.oid, pg_catalog.concat('sequence ', r.relname),
	pg_catalog.format('CREATE SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s', r.name,
		pg_catalog.format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
		CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
FROM relation r
JOIN pg_catalog.pg_sequence s
	ON s.seqrelid OPERATOR(pg_catalog.=) r.oid
WHERE NOT r.of_store AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
	WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) r.oid
		AND d.deptype OPERATOR(pg_catalog.=) 'i'::pg_catalog."char")
UNION ALL
/* functions and procedures: the definition begins with the name, qualified, which is left away */
SELECT p.schema_oid, 3, p.oid, pg_catalog.concat('function ', p.proname),
	pg_catalog.concat(h.head, pg_catalog.substr(pg_catalog.pg_get_functiondef(p.oid),
		1 OPERATOR(pg_catalog.+) pg_catalog.length(h.head) OPERATOR(pg_catalog.+) pg_catalog.length(pg_catalog.quote_ident(n.nspname))
		OPERATOR(pg_catalog.+) 1))
FROM function p
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) p.schema_oid
CROSS JOIN LATERAL (VALUES (CASE p.prokind WHEN 'p' THEN 'CREATE OR REPLACE PROCEDURE ' ELSE 'CREATE OR REPLACE FUNCTION ' END)) AS h (head)
UNION ALL
/* tables, with nothing but their columns: after the functions that generate them */
SELECT r.schema_oid, 4, r.oid, pg_catalog.concat('table ', r.relname),
	pg_catalog.concat('CREATE ', CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, 'TABLE ', r.name, ' (', (
			SELECT pg_catalog.string_agg(pg_catalog.concat(
					pg_catalog.quote_ident(a.attname), ' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
					CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) t.typcollation AND a.attcollation OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
						THEN pg_catalog.concat(' COLLATE ', a.attcollation::pg_catalog.regcollation) END,
					CASE WHEN a.attnotnull THEN ' NOT NULL' END,
					CASE a.attgenerated::pg_catalog.text
						WHEN 's' THEN pg_catalog.concat(' GENERATED ALWAYS AS (', pg_catalog.pg_get_expr(d.adbin, d.adrelid, true), ') STORED')
						WHEN 'v' THEN pg_catalog.concat(' GENERATED ALWAYS AS (', pg_catalog.pg_get_expr(d.adbin, d.adrelid, true), ') VIRTUAL') END,
					CASE WHEN a.attidentity OPERATOR(pg_catalog.<>) ''::pg_catalog."char" THEN (
						SELECT pg_catalog.concat(
							CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS' ELSE ' GENERATED BY DEFAULT' END,
							pg_catalog.format(' AS IDENTITY (SEQUENCE NAME %I INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s)', q.relname,
								s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END))
						FROM pg_catalog.pg_depend i
						JOIN pg_catalog.pg_class q
							ON q.oid OPERATOR(pg_catalog.=) i.objid
						JOIN pg_catalog.pg_sequence s
							ON s.seqrelid OPERATOR(pg_catalog.=) i.objid
						WHERE i.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
							AND i.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
							AND i.refobjid OPERATOR(pg_catalog.=) a.attrelid AND i.refobjsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4
							AND i.deptype OPERATOR(pg_catalog.=) 'i'::pg_catalog."char") END),
					', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<))
			FROM pg_catalog.pg_attribute a
			JOIN pg_catalog.pg_type t
				ON t.oid OPERATOR(pg_catalog.=) a.atttypid
			LEFT JOIN pg_catalog.pg_attrdef d
				ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
			WHERE a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped), ')',
		pg_catalog.format(' USING %I', m.amname),
		CASE WHEN r.reloptions IS NOT NULL THEN pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(r.reloptions, ', ')) END)
FROM relation r
JOIN pg_catalog.pg_am m
	ON m.oid OPERATOR(pg_catalog.=) r.relam
WHERE r.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND NOT r.of_store
UNION ALL
/* views */
SELECT r.schema_oid, 5, r.oid, pg_catalog.concat('view ', r.relname),
	pg_catalog.concat('CREATE ', CASE r.relkind WHEN 'm' THEN 'MATERIALIZED VIEW ' ELSE 'VIEW ' END, r.name,
		(SELECT pg_catalog.concat(' (', pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<)), ')')
			FROM pg_catalog.pg_attribute a
			WHERE a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped),
		CASE WHEN r.reloptions IS NOT NULL THEN pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(r.reloptions, ', ')) END,
		' AS ', pg_catalog.rtrim(pg_catalog.pg_get_viewdef(r.oid, true), ';'), CASE r.relkind WHEN 'm' THEN ' WITH NO DATA' END)
FROM relation r
WHERE r.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog."char"[])
UNION ALL
/* defaults, and what sequences belong to */
SELECT r.schema_oid, 6, d.oid, pg_catalog.format('default of %s.%s', r.relname, a.attname),
	pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', r.name, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid, true))
FROM relation r
JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) r.oid
JOIN pg_catalog.pg_attrdef d
	ON d.adrelid OPERATOR(pg_catalog.=) r.oid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
WHERE a.attgenerated OPERATOR(pg_catalog.=) ''::pg_catalog."char"
UNION ALL
SELECT r.schema_oid, 6, r.oid, pg_catalog.concat('sequence ', r.relname),
	pg_catalog.format('ALTER SEQUENCE %s OWNED BY %I.%I', r.name, o.relname, a.attname)
FROM relation r
JOIN pg_catalog.pg_depend d
	ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) r.oid
	AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'a'::pg_catalog."char"
JOIN pg_catalog.pg_class o
	ON o.oid OPERATOR(pg_catalog.=) d.refobjid AND o.relnamespace OPERATOR(pg_catalog.=) r.schema_oid
JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) d.refobjid AND a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.=) d.refobjsubid
WHERE r.relkind OPERATOR(pg_catalog.=) 'S'::pg_catalog."char" AND NOT r.of_store
UNION ALL
/* what the store keeps data as; that of a clone is made so, and this changes nothing */
SELECT r.schema_oid, 6, r.oid, 'payload of event_log',
	pg_catalog.format('ALTER TABLE %s ALTER COLUMN data TYPE %s', r.name, pg_catalog.format_type(a.atttypid, a.atttypmod))
FROM relation r
JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attname OPERATOR(pg_catalog.=) 'data'
WHERE r.of_store AND r.relname OPERATOR(pg_catalog.=) 'event_log'
	AND a.atttypid OPERATOR(pg_catalog.<>) 'pg_catalog.jsonb'::pg_catalog.regtype
UNION ALL
/* rows: phase 10; values of the schema's own types become those of the other's by way of text */
SELECT r.schema_oid, 10, r.oid, pg_catalog.concat('rows of ', r.relname),
	pg_catalog.format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM ONLY %I.%1$s', r.name,
		pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<)),
		pg_catalog.string_agg(pg_catalog.concat(pg_catalog.quote_ident(a.attname), CASE WHEN t.typnamespace OPERATOR(pg_catalog.=) r.schema_oid
			THEN pg_catalog.concat('::pg_catalog.text::', pg_catalog.format_type(a.atttypid, a.atttypmod)) END),
			', ' ORDER BY a.attnum USING OPERATOR(pg_catalog.<)), n.nspname)
FROM relation r
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) r.schema_oid
JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) r.oid
JOIN pg_catalog.pg_type t
	ON t.oid OPERATOR(pg_catalog.=) a.atttypid
WHERE r.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
	AND NOT a.attisdropped AND a.attgenerated OPERATOR(pg_catalog.=) ''::pg_catalog."char"
	AND (NOT r.of_store OR r.relname OPERATOR(pg_catalog.<>) 'event_mark')
GROUP BY r.schema_oid, r.oid, r.relname, r.name, n.nspname
UNION ALL
/* values of sequences: phase 11, read after the rows */
SELECT r.schema_oid, 11, r.oid, pg_catalog.concat('value of ', r.relname),
	pg_catalog.format('SELECT pg_catalog.setval(%L, last_value, is_called) FROM %I.%s', r.name, n.nspname, r.name)
FROM relation r
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) r.schema_oid
WHERE r.relkind OPERATOR(pg_catalog.=) 'S'::pg_catalog."char"
UNION ALL
/* constraints, foreign keys last */
SELECT r.schema_oid, CASE k.contype WHEN 'f' THEN 22 WHEN 'c' THEN 20 ELSE 21 END, k.oid,
	pg_catalog.format('constraint %s on %s', k.conname, r.relname),
	pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', r.name, k.conname, pg_catalog.pg_get_constraintdef(k.oid, true))
FROM relation r
JOIN pg_catalog.pg_constraint k
	ON k.conrelid OPERATOR(pg_catalog.=) r.oid
WHERE k.contype OPERATOR(pg_catalog.=) ANY ('{c,p,u,x,f}'::pg_catalog."char"[])
	AND NOT (r.of_store AND k.conname OPERATOR(pg_catalog.=)
		ANY ('{event_log_pkey,event_log_position_key,event_streams_pkey,event_streams_stream_name_key,event_snapshots_pkey,event_commands_pkey,event_tags_pkey,event_subscriptions_pkey,event_deliveries_pkey,event_handlers_pkey,event_parked_pkey,event_processes_pkey}'))
UNION ALL
/* indexes */
SELECT r.schema_oid, 23, i.indexrelid, pg_catalog.concat('index ', x.relname), pg_catalog.pg_get_indexdef(i.indexrelid, 0, true)
FROM relation r
JOIN pg_catalog.pg_index i
	ON i.indrelid OPERATOR(pg_catalog.=) r.oid
JOIN pg_catalog.pg_class x
	ON x.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indisvalid AND NOT (r.of_store AND x.relname OPERATOR(pg_catalog.=) 'event_log_event_id_key')
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
		WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'::pg_catalog."char"[]))
UNION ALL
/* triggers */
SELECT r.schema_oid, 24, t.oid, pg_catalog.format('trigger %s on %s', t.tgname, r.relname), pg_catalog.pg_get_triggerdef(t.oid, true)
FROM relation r
JOIN pg_catalog.pg_trigger t
	ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
WHERE NOT t.tgisinternal AND t.tgfoid OPERATOR(pg_catalog.<>) 'event_store.guard_store_table()'::pg_catalog.regprocedure
UNION ALL
SELECT r.schema_oid, 25, t.oid, pg_catalog.format('trigger %s on %s', t.tgname, r.relname),
	pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', r.name,
		CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, t.tgname)
FROM relation r
JOIN pg_catalog.pg_trigger t
	ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
WHERE NOT t.tgisinternal AND t.tgfoid OPERATOR(pg_catalog.<>) 'event_store.guard_store_table()'::pg_catalog.regprocedure
	AND t.tgenabled OPERATOR(pg_catalog.<>) 'O'::pg_catalog."char"
UNION ALL
/* rules */
SELECT r.schema_oid, 25, w.oid, pg_catalog.format('rule %s on %s', w.rulename, r.relname), pg_catalog.pg_get_ruledef(w.oid, true)
FROM relation r
JOIN pg_catalog.pg_rewrite w
	ON w.ev_class OPERATOR(pg_catalog.=) r.oid
WHERE w.rulename OPERATOR(pg_catalog.<>) '_RETURN'
UNION ALL
/* row security */
SELECT r.schema_oid, 26, p.oid, pg_catalog.format('policy %s on %s', p.polname, r.relname),
	pg_catalog.concat(pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, r.name,
		CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
		CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
		(SELECT pg_catalog.string_agg(CASE o.role WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.role)) END, ', ')
			FROM pg_catalog.unnest(p.polroles) AS o (role))),
		CASE WHEN p.polqual IS NOT NULL THEN pg_catalog.format(' USING (%s)', pg_catalog.pg_get_expr(p.polqual, p.polrelid, true)) END,
		CASE WHEN p.polwithcheck IS NOT NULL
			THEN pg_catalog.format(' WITH CHECK (%s)', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid, true)) END)
FROM relation r
JOIN pg_catalog.pg_policy p
	ON p.polrelid OPERATOR(pg_catalog.=) r.oid
UNION ALL
SELECT r.schema_oid, 26, r.oid, pg_catalog.concat('row security of ', r.relname),
	pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', r.name)
FROM relation r
WHERE r.relrowsecurity
UNION ALL
SELECT r.schema_oid, 26, r.oid, pg_catalog.concat('row security of ', r.relname),
	pg_catalog.format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.name)
FROM relation r
WHERE r.relforcerowsecurity
UNION ALL
/* what an UPDATE tells logical replication */
SELECT r.schema_oid, 26, r.oid, pg_catalog.concat('replica identity of ', r.relname),
	pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', r.name, CASE r.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE (
		SELECT pg_catalog.format('USING INDEX %I', x.relname)
		FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_class x
			ON x.oid OPERATOR(pg_catalog.=) i.indexrelid
		WHERE i.indrelid OPERATOR(pg_catalog.=) r.oid AND i.indisreplident) END)
FROM relation r
WHERE r.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND NOT r.of_store
	AND r.relreplident OPERATOR(pg_catalog.<>) 'd'::pg_catalog."char"
UNION ALL
/* extended statistics */
SELECT s.stxnamespace, 26, s.oid, pg_catalog.concat('statistics ', s.stxname),
	pg_catalog.concat('CREATE STATISTICS ', pg_catalog.substr(pg_catalog.pg_get_statisticsobjdef(s.oid),
		pg_catalog.length('CREATE STATISTICS ') OPERATOR(pg_catalog.+) pg_catalog.length(pg_catalog.quote_ident(n.nspname)) OPERATOR(pg_catalog.+) 2))
FROM object o
JOIN pg_catalog.pg_statistic_ext s
	ON o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND s.oid OPERATOR(pg_catalog.=) o.oid
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) s.stxnamespace
UNION ALL
/* comments */
SELECT r.schema_oid, 27, r.oid, pg_catalog.concat('comment on ', r.relname),
	pg_catalog.format('COMMENT ON %s %s IS %L',
		CASE WHEN d.objsubid OPERATOR(pg_catalog.<>) 0 THEN 'COLUMN'
			ELSE CASE r.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'c' THEN 'TYPE' ELSE 'SEQUENCE' END END,
		pg_catalog.concat_ws('.', r.name, pg_catalog.quote_ident(a.attname)), d.description)
FROM relation r
JOIN pg_catalog.pg_description d
	ON d.objoid OPERATOR(pg_catalog.=) r.oid AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.=) d.objsubid
	AND d.objsubid OPERATOR(pg_catalog.<>) 0
UNION ALL
SELECT p.schema_oid, 27, p.oid, pg_catalog.concat('comment on ', p.proname),
	pg_catalog.format('COMMENT ON ROUTINE %s IS %L', p.oid::pg_catalog.regprocedure, d.description)
FROM function p
JOIN pg_catalog.pg_description d
	ON d.objoid OPERATOR(pg_catalog.=) p.oid AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
UNION ALL
SELECT t.schema_oid, 27, t.oid, pg_catalog.concat('comment on ', t.typname),
	pg_catalog.format('COMMENT ON TYPE %I IS %L', t.typname, d.description)
FROM type t
JOIN pg_catalog.pg_description d
	ON d.objoid OPERATOR(pg_catalog.=) t.oid AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
UNION ALL
/* what was filled in a materialized view is filled again */
SELECT r.schema_oid, 28, r.oid, pg_catalog.concat('rows of ', r.relname), pg_catalog.format('REFRESH MATERIALIZED VIEW %s', r.name)
FROM relation r
WHERE r.relkind OPERATOR(pg_catalog.=) 'm'::pg_catalog."char" AND r.relispopulated
UNION ALL
/* rights of others than the owner: phase 30 takes what PUBLIC has by default, 31 gives, 32 gives those on the schema, $S */
SELECT p.schema_oid, 30, p.oid, pg_catalog.concat('rights on ', p.proname),
	pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', p.oid::pg_catalog.regprocedure)
FROM function p
WHERE p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) x
	WHERE x.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid)
UNION ALL
SELECT g.schema_oid, g.phase, g.oid, pg_catalog.concat('rights on ', g.what),
	pg_catalog.format('GRANT %s%s ON %s TO %s%s', x.privilege_type, g.of_column, g.what,
		CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END,
		CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' END)
FROM (
	SELECT n.oid AS schema_oid, 32 AS phase, n.oid, 'SCHEMA $S' AS what, NULL AS of_column, n.nspacl AS acl, n.nspowner AS owner
	FROM pg_catalog.pg_namespace n
	UNION ALL
	SELECT r.schema_oid, 31, r.oid, pg_catalog.concat(CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END, r.name), NULL, r.relacl, r.relowner
	FROM relation r
	UNION ALL
	SELECT r.schema_oid, 31, r.oid, pg_catalog.concat('TABLE ', r.name), pg_catalog.format(' (%I)', a.attname), a.attacl, r.relowner
	FROM relation r
	JOIN pg_catalog.pg_attribute a
		ON a.attrelid OPERATOR(pg_catalog.=) r.oid
	WHERE NOT a.attisdropped
	UNION ALL
	SELECT p.schema_oid, 31, p.oid, pg_catalog.concat('ROUTINE ', p.oid::pg_catalog.regprocedure), NULL, p.proacl, p.proowner
	FROM function p
	UNION ALL
	SELECT t.schema_oid, 31, t.oid, pg_catalog.concat('TYPE ', pg_catalog.quote_ident(t.typname)), NULL, t.typacl, t.typowner
	FROM type t
) g
CROSS JOIN LATERAL pg_catalog.aclexplode(g.acl) x
WHERE x.grantee OPERATOR(pg_catalog.<>) g.owner;
COMMENT ON VIEW event_store.schema_definition
IS 'what schemas hold, as the statements by which clone_tenant makes it again';
REVOKE ALL ON TABLE event_store.schema_definition FROM PUBLIC;
GRANT SELECT ON TABLE event_store.schema_definition TO PUBLIC;
