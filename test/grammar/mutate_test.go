package grammar

import (
	"math/rand/v2"
	"strings"
)

// seeds are INSERTs as clients send them, and every form that a literal has.
var seeds = []string{
	`INSERT INTO t (a,b,c) VALUES (1,'x',NULL)`,
	`insert into t(a,b) values (1,'x'),(-2.5e3,'y'),(default,'it''s')`,
	`INSERT INTO "T" ("a b", "c""d") VALUES ('x', 'y')`,
	`insert into public.acc (method,from_tag,time) values ('INVITE','a\b','2026-11-21 00:04:56');`,
	`insert into t values (1,2,3)`,
	`insert into t(a,b) values (E'\n\u00e4\'\\x', E'a\x41\101\tb')`,
	`insert into t(a) values (U&'\00e4\+01F600\\x')`,
	`insert into t(a,b) values ($$x'y$$, $tag$a$$b$tag$)`,
	"insert into t(a) values ('a'\n 'b' -- c\n 'd')",
	"insert into t(a) values (E'a\\n'\n'b\\n')",
	`insert /* a /* b */ c */ into t(a) -- x
 values (1) ; `,
	`insert into t(a,b,c) values (B'0101', X'1fF', N'x')`,
	`insert into t(a,b,c,d) values ('1'::int, '2026-01-01'::timestamptz, 'x'::text::varchar, '{1,2}'::int[])`,
	`insert into t(a,b,c) values (cast('1' as integer), cast (null as numeric(10,2)), CAST('x' AS character varying))`,
	`insert into t(a,b,c) values (date '2026-01-01', timestamp with time zone '2026-01-01 00:00:00+02', time '10:00')`,
	`insert into t(a,b,c) values (now(), CURRENT_TIMESTAMP, current_date)`,
	`insert into t(a,b,c) values (now()::date, localtimestamp::time, 'now'::timestamptz)`,
	`insert into t(a,b,c,d) values (true, FALSE, true::text, 't'::bool)`,
	`insert into t(a,b,c,d) values (+5, - 5, -.5, 5.)`,
	`insert into t(a,b,c) values (0, 007, 123456789012345678901234567890.123)`,
	`insert into t(a,b,c) values (1e10, 1.5E-3, 5::numeric)`,
	`insert into t(a) values (((1))),(('x')),((null))`,
	`insert into t(a) values (1) on conflict do nothing`,
	`insert into t(a,b) values (nullif('x',''), NULLIF('',''))`,
	`insert into radacct (a,b,c,d) values ('1', TO_TIMESTAMP(1700000000), NULLIF('10.0.0.1', '')::inet, NULLIF('', '')::bigint)`,
	`insert into t(a) values (gen_random_uuid()),(gen_random_uuid()::text)`,
	`insert into t(a,b) values (interval '1 day', '1 day'::interval)`,
	`insert into t(a) values ('x') ; insert into u(b) values ('y')`,
	`INSERT INTO t (a) VALUES ('\x0001ff'::bytea)`,
	`insert into t(a,b) values ('a' || 'b', 1 + 1)`,
	`insert into t(a) values (upper('x')) returning a`,
	`insert into t as u (a) values ($1)`,
	`insert into t default values`,
	`insert into t(a) select 1`,
	`insert into t(a) overriding system value values (1)`,
	`insert into t(a) values ('x' collate "C")`,
	`insert into t(a) values (array[1,2])`, `insert into t(a) values (array['a','b c',null], array[1.50,-2]::numeric[], ARRAY [true, false])`,
	`insert into t(a[1]) values (row(1,2))`,
	`insert into t(a) values (1) on conflict (a) do update set a = 1`,
	`insert into t(a) values (d'x', U&'d!0061' UESCAPE '!')`,
	`INSERT INTO t (ä, "Ä", übergröße) VALUES ('ö', 'ß', '€')`,
	`insert into t (a, b) values ('tab	', 'nl
')`,
}

// pieces are what is put in.
var pieces = strings.Split("'|''|\"|\"\"|(|)|,|;|--|/*|*/|\n|\t| |  |$|$$|$1|$0|$a$|\\|\\\\|\\'|E'|e'|U&'|u&\"|B'|x'|N'|::|::int|::text|::date|::timestamptz|::numeric(3)|::\"char\"|::varchar(2)|::int[]|::setof int|:|.|..|1|0|00|9|1e|1e5|1.|.1|0x1f|0b1|0o7|1_000|-|+|- -|+-|*|/|%|=|<|>|!|~|@|#|^|&|`|?|[|]|{|}|null|NULL|default|DEFAULT|true|false|values|VALUES|into|insert|insert into t values|on conflict do nothing|on conflict|returning|returning *|as|cast(|as int)|now()|now|current_timestamp|current_timestamp(3)|localtime|current_date|interval|date|time|timestamp|with time zone|at time zone 'utc'|nullif(|coalesce(|gen_random_uuid()|to_timestamp(|to_timestamp(0)|'now'|'now'::date|'today'::date|select|select 1|array|row(|not|is null|and|or|in|collate|uescape '!'|public.|pg_catalog.|a.b|\"a\"|order|user|table|only|order by 1|limit 1|union|variadic|all|a|b|ä|€|é|\u00a0|\r|\f|\v|\\u00e4|\\U0001F600|\\ud83d\\ude00|\\x41|\\101|\\+00e4", "|")

// plainValues are values that the door takes.
var plainValues = strings.Split("1~0~007~-5~+ 5~- .5~5.~1.50~1e3~-1.5E-3~12345678901234567890123~'x'~''~'it''s'~'a\\b'~E'\\t\\'\\101\\x42\\u00e4'~e'a' \n 'b'~'a'\n'b'~'a' -- c\n 'b'~$$a$b$$~$x$a$$b$x$~U&'\\0061\\+000062'~U&'!0061' UESCAPE '!'~B'01'~x'aF'~N'n'~null~NULL~true~False~now()~now ( )~current_timestamp~LocalTimestamp~current_date~clock_timestamp()~gen_random_uuid()~to_timestamp(1700000000.5)~nullif('a','')~nullif('','')~NULLIF(1, 1.0)~'now'~'{}'~'ä€😀'~default~DEFAULT", "~")

// castTypes are types that values are cast to.
var castTypes = []string{"text", "varchar", "int", "int8", "bigint", "numeric", "double precision", "real", "bool", "date", "timestamp", "timestamptz", "timestamp with time zone", "time", "uuid", "inet", "bytea", "json", "int[]", "text [ 3 ]", "pg_catalog.int4", "interval", "\"char\"", "bpchar", "mood"}

// pick returns one of all.
func pick(r *rand.Rand, all []string) string { return all[r.IntN(len(all))] }

// oneValue makes a value, most of them such that the door takes.
func oneValue(r *rand.Rand) string {
	v := pick(r, plainValues)
	for r.IntN(3) == 0 {
		switch r.IntN(5) {
		case 0:
			v = "(" + v + ")"
		case 1:
			v = "cast(" + v + " as " + pick(r, castTypes) + ")"
		case 2:
			v = pick(r, castTypes) + " " + v
		case 3:
			v = pick(r, []string{"-", "+", "- ", "-- x\n"}) + v
		default:
			v += "::" + pick(r, castTypes)
		}
	}
	return v
}

// made is an INSERT of values.
func made(r *rand.Rand) string {
	var b strings.Builder
	columns := 1 + r.IntN(4)
	b.WriteString(pick(r, []string{"insert into t", "INSERT INTO public.t", "Insert\nInto \"t\"", "insert/**/into/* x */t"}))
	if r.IntN(4) > 0 {
		b.WriteString(pick(r, []string{"(", " ( ", "\t("}) + strings.Join([]string{"a", "B", "\"c d\"", "ä"}[:columns], pick(r, []string{",", " , "})) + ")")
	}
	b.WriteString(pick(r, []string{" values ", " VALUES", "\nvalues\n"}))
	for i := range 1 + r.IntN(3) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for j := range columns {
			if j > 0 {
				b.WriteString(pick(r, []string{",", ", ", " ,"}))
			}
			b.WriteString(oneValue(r))
		}
		b.WriteByte(')')
	}
	b.WriteString(pick(r, []string{"", "", ";", " on conflict do nothing", " ON CONFLICT\nDO NOTHING;", " -- end", " ; ; "}))
	return b.String()
}

// mutated changes a seed, or an INSERT that was made, in a few places.
func mutated(r *rand.Rand) string {
	s := []byte(made(r))
	if r.IntN(2) == 0 {
		s = []byte(pick(r, seeds))
	}
	for n := r.IntN(8); n < 7; n += 2 + r.IntN(4) {
		s = change(r, s)
	}
	return string(s)
}

// change changes s in one place.
func change(r *rand.Rand, s []byte) []byte {
	at := r.IntN(len(s) + 1)
	end := min(len(s), at+1+r.IntN(6))
	switch r.IntN(10) {
	case 0: // a piece more
		return splice(s, at, at, pick(r, pieces))
	case 1: // a piece more, with blanks around it
		return splice(s, at, at, " "+pick(r, pieces)+" ")
	case 2: // a piece instead
		return splice(s, at, end, pick(r, pieces))
	case 3: // less
		return splice(s, at, end, "")
	case 4: // the same again
		return splice(s, at, at, string(s[at:end]))
	case 5: // something of another one
		o := pick(r, seeds)
		from := r.IntN(len(o))
		return splice(s, at, at, o[from:min(len(o), from+1+r.IntN(20))])
	case 6, 7: // a value for a value
		return swap(r, s, oneValue(r))
	case 8:
		return swap(r, s, pick(r, pieces))
	}
	if at < len(s) { // another byte
		s = splice(s, at, at+1, string(bytesOfSQL[r.IntN(len(bytesOfSQL))]))
	}
	return s
}

const bytesOfSQL = " '\"\\$();,.:-+*/eExXbBuU&nN01289aAzZ_\n\t\r%!"

func splice(s []byte, at, end int, with string) []byte {
	return append(append(append([]byte(nil), s[:at]...), with...), s[end:]...)
}

// swap puts something in the place of what stands between two commas or
// parentheses.
func swap(r *rand.Rand, s []byte, with string) []byte {
	from := r.IntN(len(s) + 1)
	at := strings.IndexAny(string(s[from:]), "(,")
	if at < 0 {
		return s
	}
	at += from + 1
	end := strings.IndexAny(string(s[at:]), ",)")
	if end < 0 {
		return s
	}
	return splice(s, at, at+end, with)
}
