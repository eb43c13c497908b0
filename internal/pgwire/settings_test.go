package pgwire

import (
	"fmt"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name    string
		queries []string
		answers []string
	}{
		{"kept and shown", []string{"set application_name = 'x y'", "show application_name", "reset application_name", "show application_name"},
			[]string{"set application_name=x y; SET; ready I", "columns application_name 25; row x y; SHOW; ready I",
				"set application_name=start; RESET; ready I", "columns application_name 25; row start; SHOW; ready I"}},
		{"what drivers send", []string{"SET extra_float_digits = 3", "SET bytea_output=escape", "set names 'utf8'", "SET statement_timeout = 0", "SET client_min_messages = warning",
			"set search_path to public, pg_catalog", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", "set my.own = 1", "show my.own",
			"SHOW TRANSACTION ISOLATION LEVEL", "set time zone 'Europe/Berlin'", "set timezone = -3", "set time zone default"},
			[]string{"SET; ready I", "SET; ready I", "set client_encoding=UTF8; SET; ready I", "SET; ready I", "SET; ready I", "SET; ready I", "SET; ready I", "SET; ready I",
				"columns my.own 25; row 1; SHOW; ready I", "columns transaction_isolation 25; row read committed; SHOW; ready I",
				"set TimeZone=Europe/Berlin; SET; ready I", "set TimeZone=-3; SET; ready I", "set TimeZone=UTC; SET; ready I"}},
		{"refused", []string{"set standard_conforming_strings = off", "set client_encoding = latin", "set nonsense = 1", "show nonsense", "set datestyle = 'ISO, DMY'", "set timezone = 'Nowhere/Land'",
			"set synchronous_commit = maybe", "set server_version = 'x'", "set role admin", "set"},
			[]string{`ERROR 22023 invalid value for parameter "standard_conforming_strings": "off"; ready I`, `ERROR 22023 invalid value for parameter "client_encoding": "latin"; ready I`,
				`ERROR 42704 unrecognized configuration parameter "nonsense"; ready I`, `ERROR 42704 unrecognized configuration parameter "nonsense"; ready I`,
				`ERROR 22023 invalid value for parameter "DateStyle": "ISO, DMY"; ready I`, `ERROR 22023 invalid value for parameter "TimeZone": "Nowhere/Land"; ready I`,
				`ERROR 22023 invalid value for parameter "synchronous_commit": "maybe"; ready I`, `ERROR 55P02 parameter "server_version" cannot be changed; ready I`,
				"ERROR 0A000 at 9 roles cannot be changed; ready I", "ERROR 42601 at 4 syntax error at end of input; ready I"}},
		{"a rollback takes SET back", []string{"begin", "set application_name = x", "rollback", "show application_name"},
			[]string{"BEGIN; ready T", "set application_name=x; SET; ready T", "set application_name=start; ROLLBACK; ready I", "columns application_name 25; row start; SHOW; ready I"}},
		{"SET LOCAL", []string{"set local application_name = y", "begin; set local application_name = x; set extra_float_digits = 2", "show application_name", "commit", "show application_name", "show extra_float_digits"},
			[]string{"WARNING 25P01 SET LOCAL can only be used in transaction blocks; set application_name=start; SET; ready I",
				"BEGIN; set application_name=x; SET; SET; ready T", "columns application_name 25; row x; SHOW; ready T", "set application_name=start; COMMIT; ready I",
				"columns application_name 25; row start; SHOW; ready I", "columns extra_float_digits 25; row 2; SHOW; ready I"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, addr := startServer(t, newMemStore(true))
			cl := connect(t, addr, "application_name", "start")
			for i, q := range c.queries {
				want(t, q, cl.query(q), c.answers[i])
			}
		})
	}
}

// TestSynchronousCommit: only off is not durable, and SET LOCAL holds for its
// own transaction.
func TestSynchronousCommit(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store)
	c := connect(t, addr)
	for _, q := range []string{
		"insert into t(a) values (1)",
		"set synchronous_commit = off", "insert into t(a) values (2)",
		"set synchronous_commit to local", "insert into t(a) values (3)",
		"set synchronous_commit = remote_apply", "insert into t(a) values (4)",
		"begin; set local synchronous_commit = off; insert into t(a) values (5); commit", "insert into t(a) values (6)",
		"set synchronous_commit = off", "reset synchronous_commit", "insert into t(a) values (7)",
		"begin; set synchronous_commit = off; rollback", "insert into t(a) values (8)",
	} {
		if got := c.query(q); strings.Contains(got, "ERROR") {
			t.Fatalf("%s: %s", q, got)
		}
	}
	want(t, "commits", fmt.Sprint(store.commits), "[durable written durable durable written durable durable durable]")
	off := connect(t, addr, "options", "-c synchronous_commit=off")
	off.query("insert into t(a) values (9)")
	want(t, "by options", store.commits[len(store.commits)-1], "written")
}

// TestClock: the words that mean a moment are read when the row is taken, in
// the session's time zone, and stand still within a transaction.
func TestClock(t *testing.T) {
	store := newMemStore(true).table(t, "k", "a timestamptz, b timestamp, c date, d text")
	_, addr := startServer(t, store)
	c := connect(t, addr, "TimeZone", "Asia/Kolkata")
	for _, q := range []struct{ sql, row string }{
		{"insert into t(a,b,c,d) values (now(), current_timestamp, localtimestamp, current_date)", "t(a,b,c,d)=2026-11-21 05:34:56.789+05:30|2026-11-21 05:34:56.789+05:30|2026-11-21 05:34:56.789|2026-11-21"},
		{"insert into t(a,b,c,d) values (now()::timestamp, now()::date, clock_timestamp(), transaction_timestamp())", "t(a,b,c,d)=2026-11-21 05:34:56.789|2026-11-21|2026-11-21 05:34:56.789+05:30|2026-11-21 05:34:56.789+05:30"},
		{"insert into t(a,b,c,d) values ('now'::timestamptz, timestamp ' NOW ', cast('tomorrow' as date), 'now')", "t(a,b,c,d)=2026-11-21 05:34:56.789+05:30|2026-11-21 05:34:56.789|2026-11-22|now"},
		{"insert into k(a,b,c,d) values ('now', 'yesterday', 'today', 'today')", "k(a,b,c,d)=2026-11-21 05:34:56.789+05:30|2026-11-20 00:00:00|2026-11-21|today"},
	} {
		want(t, q.sql, c.query(q.sql), "INSERT 0 1; ready I")
		want(t, q.sql, strings.Join(store.taken(), ""), q.row)
	}
	want(t, "precision", c.query("insert into t(a) values (current_timestamp(3))"), "ERROR 0A000 at 26 precision of current_timestamp is not taken; ready I")
}

func TestStartOptions(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"-c a=1 -cb=2 --c-d=3", "[[a 1] [b 2] [c_d 3]]"},
		{`-c a=x\ y\\z`, `[[a x y\z]]`},
		{"", "[]"},
		{"-x", `invalid command-line argument for server process: "-x" (hint: options are written as -c name=value)`},
		{"-c", `invalid command-line argument for server process: "-c" (hint: options are written as -c name=value)`},
	} {
		got, err := startOptions(c.in)
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		want(t, c.in, text, c.out)
	}
}
