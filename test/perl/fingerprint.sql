-- Everything that CREATE EXTENSION puts into the catalogues, a line each: two databases with the same lines have the same
-- extension, however each came to it.
WITH members AS (
	SELECT d.classid, d.objid, i.type, i.identity
	FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid
	CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'event_store'
), relations AS (
	SELECT c.oid, m.identity, c.relkind, c.relacl, c.reloptions, c.relpersistence
	FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
)
SELECT line FROM (
	SELECT format('%s %s: %s', type, identity, obj_description(objid, classid::regclass::name)) FROM members
	UNION ALL
	SELECT format('function %s: %s', m.identity, pg_get_functiondef(p.oid))
	FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE p.prokind <> 'a'
	UNION ALL
	SELECT format('rights on %s: %s %s%s by %s', o.identity, grantee::regrole, privilege_type, CASE WHEN is_grantable THEN '*' END, grantor::regrole)
	FROM (
		SELECT m.identity, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl
		FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		UNION ALL SELECT identity, coalesce(relacl, acldefault('r', (SELECT relowner FROM pg_class c WHERE c.oid = r.oid))) FROM relations r
		UNION ALL SELECT m.identity, coalesce(t.typacl, acldefault('T', t.typowner))
		FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
		UNION ALL SELECT nspname, nspacl FROM pg_namespace WHERE nspname = 'event_store') o, aclexplode(o.acl)
	UNION ALL
	SELECT format('relation %s: %s %s %s', identity, relkind, relpersistence, reloptions) FROM relations
	UNION ALL
	SELECT format('column %s of %s: %s %s %s %s %s', attnum, r.identity, attname, format_type(atttypid, atttypmod), attnotnull,
		attcollation::regcollation, pg_get_expr(adbin, adrelid))
	FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	WHERE attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT format('attribute %s of %s: %s %s', attnum, m.identity, attname, format_type(atttypid, atttypmod))
	FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE NOT attisdropped
	UNION ALL
	SELECT format('type %s: %s %s %s %s %s %s %s', m.identity, typlen, typbyval, typalign, typstorage, typinput, typoutput, typreceive)
	FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	UNION ALL
	SELECT format('cast %s: %s %s %s', m.identity, castfunc::regprocedure, castcontext, castmethod)
	FROM members m JOIN pg_cast c ON m.classid = 'pg_cast'::regclass AND m.objid = c.oid
	UNION ALL
	SELECT format('constraint %s of %s: %s', conname, r.identity, pg_get_constraintdef(c.oid)) FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid
	WHERE c.contype <> 'n'
	UNION ALL
	SELECT format('index of %s: %s', r.identity, pg_get_indexdef(indexrelid)) FROM relations r JOIN pg_index i ON i.indrelid = r.oid
	UNION ALL
	SELECT format('trigger of %s: %s', r.identity, pg_get_triggerdef(t.oid)) FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT tgisinternal
	UNION ALL
	SELECT format('view %s: %s', identity, pg_get_viewdef(oid)) FROM relations WHERE relkind = 'v'
	UNION ALL
	SELECT format('dumped: %s %s', c.relation::regclass, c.condition)
	FROM pg_extension, unnest(extconfig, extcondition) c(relation, condition) WHERE extname = 'event_store'
	UNION ALL
	SELECT format('extension %s %s %s', extversion, extnamespace::regnamespace, extrelocatable) FROM pg_extension WHERE extname = 'event_store'
) f(line)
ORDER BY line COLLATE "C";
