package dialect

import "testing"

// TestWidens says which types take each value of another as it is.
func TestWidens(t *testing.T) {
	for _, test := range []struct {
		e        migrator
		from, to string
		want     bool
	}{
		{&postgres{}, "smallint", "bigint", true}, {&postgres{}, "bigint", "integer", false}, {&postgres{}, "integer", "numeric(12,2)", true},
		{&postgres{}, "integer", "numeric(11,2)", false}, {&postgres{}, "bigint", "numeric", true}, {&postgres{}, "bigint", "double precision", false},
		{&postgres{}, "numeric(10,2)", "numeric(12,4)", true}, {&postgres{}, "numeric(10,2)", "numeric(12,5)", false}, {&postgres{}, "numeric", "numeric(30,2)", false},
		{&postgres{}, "numeric(10,2)", "numeric", true}, {&postgres{}, "real", "double precision", true}, {&postgres{}, "character varying(20)", "character varying(40)", true},
		{&postgres{}, "character varying(20)", "character varying(19)", false}, {&postgres{}, "character varying(20)", "text", true}, {&postgres{}, "text", "character varying(20)", false},
		{&postgres{}, "character varying", "character varying(20)", false}, {&postgres{}, "text", "character varying", true}, {&postgres{}, "character(5)", "text", false},
		{&postgres{}, "integer[]", "bigint[]", false}, {&postgres{}, "integer", "text", false},
		{&mariadb{}, "int(11)", "bigint(20)", true}, {&mariadb{}, "int(11)", "int(9)", true}, {&mariadb{}, "int(10) unsigned", "int(11)", false}, {&mariadb{}, "int(10) unsigned", "bigint(20)", true},
		{&mariadb{}, "int(11)", "bigint(20) unsigned", false}, {&mariadb{}, "decimal(10,2)", "decimal(12,4)", true}, {&mariadb{}, "decimal(10,2)", "decimal(10,3)", false},
		{&mariadb{}, "decimal(10,2)", "decimal(12,2) unsigned", false}, {&mariadb{}, "float", "double", true}, {&mariadb{}, "double", "float", false}, {&mariadb{}, "varchar(20)", "varchar(40)", true},
		{&mariadb{}, "varchar(100)", "tinytext", false}, {&mariadb{}, "varchar(60)", "tinytext", true}, {&mariadb{}, "varchar(16383)", "text", true}, {&mariadb{}, "varchar(16384)", "text", false},
		{&mariadb{}, "text", "longtext", true}, {&mariadb{}, "longtext", "text", false}, {&mariadb{}, "text", "longblob", false}, {&mariadb{}, "blob", "longblob", true},
		{&mariadb{}, "datetime", "datetime(3)", true}, {&mariadb{}, "datetime(3)", "datetime", false}, {&mariadb{}, "enum('a','b')", "enum('a','b','c')", true}, {&mariadb{}, "enum('a','b')", "enum('b','a','c')", false},
		{&mariadb{}, "char(10)", "char(20)", false}, {&mariadb{}, "datetime", "timestamp", false},
		{&lite{}, "smallint", "BIGINT", true}, {&lite{}, "varchar(20)", "TEXT", true}, {&lite{}, "INTEGER", "TEXT", false}, {&lite{}, "REAL", "NUMERIC", false}, {&lite{}, "", "BLOB", true},
	} {
		if got := test.e.Widens(test.from, test.to); got != test.want {
			t.Errorf("%T: %s to %s: got %v, want %v", test.e, test.from, test.to, got, test.want)
		}
	}
}

// TestConstant tells defaults that are the same for each row from others.
func TestConstant(t *testing.T) {
	for text, want := range map[string]bool{
		"5": true, "-1.5": true, "'it''s'::character varying": true, "'-1'::integer": true, "(0)::numeric(10,2)": true, "NULL": true, "true": true, "'{}'::text[]": true,
		"now()": false, "current_timestamp()": false, "CURRENT_TIMESTAMP": false, "nextval('x'::regclass)": false, "'a' || 'b'": false, "": false, "'a'); DROP TABLE x --": false, "1 + 1": false,
	} {
		if got := constant.MatchString(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
