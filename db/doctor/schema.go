package doctor

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// schemaChecks are about what notifier keeps in the database.
var schemaChecks = []check{
	{"schema version", schemaVersion},
	{"schema drift", drift},
	{"triggers", triggers},
	{"owner of functions", owners},
	{"roles", roles},
	{"policy functions", policy},
	{"retention", retention},
	{"vacuum", vacuum},
	{"dropped events", dropped},
	{"watched tables", watched},
}

// expected is the schema that this version of notifier makes, in the words of
// describe. The policy functions belong to the application, so nothing is said of
// what they do.
//
//go:embed schema.txt
var expected string

// describe lists the objects of the schema, one a line.
const describe = `-- name: doctor_schema
WITH relation AS (
	SELECT c.oid, c.relname::text AS name, c.relkind, c.relacl
	FROM pg_class c
	WHERE c.relnamespace = to_regnamespace('notifier')
		AND c.relkind IN ('r', 'p', 'v')
), routine AS (
	SELECT p.oid, format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
		pg_get_function_result(p.oid) AS result, p.prosecdef, p.prosrc, p.proacl, p.proowner,
		p.proname IN ('user_exists', 'may_read', 'dataset_of') AS applications
	FROM pg_proc p
	WHERE p.pronamespace = to_regnamespace('notifier')
)
SELECT line
FROM (
	SELECT format('table %s', name) AS line
	FROM relation
	UNION ALL
	SELECT format('column %s of %s: %s%s', a.attname, r.name, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END)
	FROM relation r
		JOIN pg_attribute a ON a.attrelid = r.oid
	WHERE a.attnum > 0
		AND NOT a.attisdropped
		AND r.name <> 'goose_db_version'
	UNION ALL
	SELECT format('index %s on %s%s', c.relname, r.name, CASE WHEN NOT i.indisvalid THEN ', invalid' END)
	FROM relation r
		JOIN pg_index i ON i.indrelid = r.oid
		JOIN pg_class c ON c.oid = i.indexrelid
	UNION ALL
	SELECT format('trigger %s on %s: %s', t.tgname, r.name, t.tgenabled)
	FROM relation r
		JOIN pg_trigger t ON t.tgrelid = r.oid
	WHERE NOT t.tgisinternal
	UNION ALL
	SELECT CASE WHEN applications THEN format('function %s: %s', name, result)
		ELSE format('function %s: %s%s, %s', name, result, CASE WHEN prosecdef THEN ', definer' END, md5(prosrc)) END
	FROM routine
	UNION ALL
	SELECT format('grant %s on schema to %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END)
	FROM pg_namespace n
		CROSS JOIN aclexplode(n.nspacl) a
	WHERE n.nspname = 'notifier'
		AND a.grantee <> n.nspowner
	UNION ALL
	SELECT format('grant %s on table %s to %s', a.privilege_type, r.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END)
	FROM relation r
		CROSS JOIN aclexplode(r.relacl) a
	WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) IN ('notifier_publisher', 'notifier_server')
	UNION ALL
	SELECT format('grant %s on column %s of %s to %s', a.privilege_type, t.attname, r.name, pg_get_userbyid(a.grantee))
	FROM relation r
		JOIN pg_attribute t ON t.attrelid = r.oid
		CROSS JOIN aclexplode(t.attacl) a
	WHERE pg_get_userbyid(a.grantee) IN ('notifier_publisher', 'notifier_server')
	UNION ALL
	SELECT format('grant %s on function %s to %s', a.privilege_type, r.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END)
	FROM routine r
		CROSS JOIN aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a
	WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) IN ('notifier_publisher', 'notifier_server')
) AS described
ORDER BY line COLLATE "C"`

func schemaVersion(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	there, err := e.there(ctx, "notifier.goose_db_version")
	if err != nil {
		return f, err
	}
	const mend = "run 'notifier migrate up', or 'notifier serve --migrate'"
	if !there {
		e.stopped = true
		return failure("the database has no schema of notifier's", mend), nil
	}
	var version, oldest int64
	err = e.row(ctx, `-- name: doctor_schema_version
		SELECT coalesce(max(version_id), 0), notifier.oldest_server()
		FROM notifier.goose_db_version
		WHERE is_applied`, nil, &version, &oldest)
	switch {
	case err != nil:
		return f, err
	case version < e.Required:
		e.stopped = true
		return failure(fmt.Sprintf("version %d, this notifier needs %d", version, e.Required), mend), nil
	case e.Required < oldest:
		return failure(fmt.Sprintf("version %d is for newer servers", version), "install a newer notifier"), nil
	case version > e.Required:
		return ok("version %d, newer than the %d that this notifier needs", version, e.Required), nil
	}
	return ok("version %d", version), nil
}

// schema returns what is missing of what is expected, and what there is besides. Of
// a newer schema nothing is known.
func (e *examination) schema(ctx context.Context) (missing, besides []string, err error) {
	there, err := e.texts(ctx, describe)
	if err != nil {
		return nil, nil, err
	}
	wanted := strings.Split(strings.TrimSpace(expected), "\n")
	for _, line := range wanted {
		if !slices.Contains(there, line) {
			missing = append(missing, line)
		}
	}
	for _, line := range there {
		if !slices.Contains(wanted, line) {
			besides = append(besides, line)
		}
	}
	return missing, besides, nil
}

const triggerLine = "trigger "

// drift compares the schema with what the migrations make, but for the triggers. What
// is there besides is the application's, unless it lets everybody in.
func drift(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	missing, besides, err := e.schema(ctx)
	if err != nil {
		return f, err
	}
	missing = slices.DeleteFunc(missing, func(line string) bool { return strings.HasPrefix(line, triggerLine) })
	open := slices.DeleteFunc(besides, func(line string) bool {
		return !strings.HasPrefix(line, "grant ") || !strings.HasSuffix(line, " to PUBLIC") || !concernsOurs(line)
	})
	switch {
	case len(missing) > 0:
		return failure("missing, or not as it was made: "+some(missing),
			"restore it from a database that 'notifier migrate up' has made, or take the migrations back and apply them again; a dump is to be restored with its roles and privileges"), nil
	case len(open) > 0:
		return warning("granted to everybody: "+some(open), "REVOKE it FROM PUBLIC"), nil
	}
	return ok("all objects and privileges are there"), nil
}

// concernsOurs reports whether a grant is on something that the schema has by
// itself: functions of the application's may be anybody's.
func concernsOurs(grant string) bool {
	_, object, _ := strings.Cut(strings.TrimSuffix(grant, " to PUBLIC"), " on ")
	return object == "schema" || strings.Contains(expected, object+"\n") || strings.Contains(expected, object+":")
}

// some lists the first of many.
func some(all []string) string {
	const most = 5
	text := strings.Join(all[:min(most, len(all))], "; ")
	if len(all) > most {
		text += fmt.Sprintf("; and %d more", len(all)-most)
	}
	return text
}

func triggers(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	missing, besides, err := e.schema(ctx)
	if err != nil {
		return f, err
	}
	var silent, ordinary, gone []string
	for _, line := range missing {
		name, isTrigger := strings.CutPrefix(line, triggerLine)
		if !isTrigger {
			continue
		}
		name, _, _ = strings.Cut(name, ": ")
		switch {
		case slices.Contains(besides, triggerLine+name+": D"):
			silent = append(silent, name)
		case slices.ContainsFunc(besides, func(b string) bool { return strings.HasPrefix(b, triggerLine+name+": ") }):
			ordinary = append(ordinary, name)
		default:
			gone = append(gone, name)
		}
	}
	const mend = "ALTER TABLE notifier.… ENABLE ALWAYS TRIGGER …, but the doorbell: ENABLE TRIGGER doorbell"
	switch {
	case len(gone) > 0:
		return failure("missing: "+some(gone), "restore them from a database that 'notifier migrate up' has made"), nil
	case len(silent) > 0:
		return failure("disabled: "+some(silent)+"; what they announce is not heard of", mend), nil
	case len(ordinary) > 0:
		return warning("enabled otherwise than they were, as after pg_restore --disable-triggers: "+some(ordinary), mend), nil
	}
	return ok("all are there and enabled"), nil
}

// owners looks whether the functions that have rights of their owner's have those
// that they need.
func owners(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	wrong, err := e.texts(ctx, `-- name: doctor_owners
		SELECT format('%s belongs to %s', p.oid::regprocedure, pg_get_userbyid(p.proowner))
		FROM pg_proc p
		WHERE p.pronamespace = to_regnamespace('notifier')
			AND p.prosecdef
			AND p.proname NOT IN ('user_exists', 'may_read', 'dataset_of')
			AND NOT pg_has_role(p.proowner, (SELECT relowner FROM pg_class WHERE oid = 'notifier.events'::regclass), 'USAGE')
		ORDER BY 1`)
	if err != nil {
		return f, err
	}
	if len(wrong) > 0 {
		return failure("not the owner of notifier.events: "+some(wrong), "ALTER FUNCTION … OWNER TO the role that has migrated"), nil
	}
	return ok("that of the tables"), nil
}

// roles looks whether the roles of the URLs are members of the servers' role.
func roles(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	for _, conn := range []*pgx.Conn{e.conn, e.pooled} {
		var user string
		var server, publisher, member bool
		err := within(ctx, conn, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `-- name: doctor_roles
				SELECT current_user, to_regrole('notifier_server') IS NOT NULL, to_regrole('notifier_publisher') IS NOT NULL,
					coalesce(pg_has_role(to_regrole('notifier_server'), 'USAGE'), false)`).Scan(&user, &server, &publisher, &member)
		})
		switch {
		case err != nil:
			return f, err
		case !server || !publisher:
			return failure("notifier_server or notifier_publisher does not exist",
				"CREATE ROLE notifier_publisher NOLOGIN; CREATE ROLE notifier_server NOLOGIN; and grant what 'schema drift' misses"), nil
		case !member:
			return failure(user+" is no member of notifier_server, or does not inherit its rights", fmt.Sprintf("GRANT notifier_server TO %s", user)), nil
		}
		f = ok("%s has the rights of notifier_server", user)
	}
	return f, nil
}
