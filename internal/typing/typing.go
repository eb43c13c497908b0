// Package typing judges whether a text can be a value of a PostgreSQL type.
//
// It refuses only what every supported version of PostgreSQL surely refuses,
// with PostgreSQL's own SQLSTATE and words; what depends on a setting, a
// version or a locale passes, and is judged by the sink. A type that it does
// not know takes every text.
package typing

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"holdfast/internal/fault"
)

// kind is what is looked for in a text.
type kind uint8

const (
	anything kind = iota
	integer
	numeric
	float
	boolean
	varchar
	char
	uuid
	date
	clock // a time of day
	timestamp
	bytea
	jsonText
	jsonb
	address
	bit
	varbit
)

// Judge judges values of one type. The zero Judge takes everything. It is
// plain data, safe for concurrent use, and allocates only to refuse.
type Judge struct {
	kind   kind
	name   string // of the type, in PostgreSQL's messages
	bits   int    // integer: its size
	length int    // varchar, char, bit, varbit: characters or bits; 0: no bound
	digits int    // numeric: the precision; 0: no bound
	scale  int    // numeric
}

// plainTypes are the types that take no modifier that matters, by every name
// they go by.
var plainTypes = map[string]Judge{
	"smallint": {kind: integer, name: "smallint", bits: 16}, "int2": {kind: integer, name: "smallint", bits: 16},
	"smallserial": {kind: integer, name: "smallint", bits: 16}, "serial2": {kind: integer, name: "smallint", bits: 16},
	"integer": {kind: integer, name: "integer", bits: 32}, "int": {kind: integer, name: "integer", bits: 32},
	"int4": {kind: integer, name: "integer", bits: 32}, "serial": {kind: integer, name: "integer", bits: 32}, "serial4": {kind: integer, name: "integer", bits: 32},
	"bigint": {kind: integer, name: "bigint", bits: 64}, "int8": {kind: integer, name: "bigint", bits: 64},
	"bigserial": {kind: integer, name: "bigint", bits: 64}, "serial8": {kind: integer, name: "bigint", bits: 64},
	"real": {kind: float, name: "real", bits: 32}, "float4": {kind: float, name: "real", bits: 32},
	"double precision": {kind: float, name: "double precision", bits: 64}, "float8": {kind: float, name: "double precision", bits: 64},
	"boolean": {kind: boolean, name: "boolean"}, "bool": {kind: boolean, name: "boolean"},
	"uuid": {kind: uuid, name: "uuid"}, "bytea": {kind: bytea, name: "bytea"},
	"json": {kind: jsonText, name: "json"}, "jsonb": {kind: jsonb, name: "json"},
	"inet": {kind: address, name: "inet"}, "cidr": {kind: address, name: "cidr"},
	"date":      {kind: date, name: "date"},
	"timestamp": {kind: timestamp, name: "timestamp"}, "timestamp without time zone": {kind: timestamp, name: "timestamp"},
	"timestamptz": {kind: timestamp, name: "timestamp with time zone"}, "timestamp with time zone": {kind: timestamp, name: "timestamp with time zone"},
	"time": {kind: clock, name: "time"}, "time without time zone": {kind: clock, name: "time"},
	"timetz": {kind: clock, name: "time with time zone"}, "time with time zone": {kind: clock, name: "time with time zone"},
}

// Compile returns the judge for a type, written as row.Column or PostgreSQL's
// format_type writes it. Arrays and types that are not known get the zero Judge.
func Compile(declared string) Judge {
	name, mods, ok := split(strings.ToLower(declared))
	if !ok {
		return Judge{}
	}
	if j, ok := plainTypes[name]; ok {
		return j
	}
	first := 0
	if len(mods) > 0 {
		first = mods[0]
	}
	switch name {
	case "numeric", "decimal", "dec":
		j := Judge{kind: numeric, name: "numeric", digits: first}
		if len(mods) > 1 {
			j.scale = mods[1]
		}
		return j
	case "float":
		if len(mods) > 0 && first <= 24 {
			return plainTypes["real"]
		}
		return plainTypes["double precision"]
	case "varchar", "character varying":
		return Judge{kind: varchar, name: "character varying(" + strconv.Itoa(first) + ")", length: first}.bounded()
	case "character", "bpchar", "char":
		if len(mods) == 0 && name == "character" {
			first = 1
		}
		// A char without a length may be PostgreSQL's "char", which cuts what is
		// too long, and bpchar without one has no bound.
		return Judge{kind: char, name: "character(" + strconv.Itoa(first) + ")", length: first}.bounded()
	case "bit":
		return Judge{kind: bit, name: "bit(" + strconv.Itoa(max(first, 1)) + ")", length: max(first, 1)}
	case "varbit", "bit varying":
		return Judge{kind: varbit, name: "bit varying(" + strconv.Itoa(first) + ")", length: first}
	}
	return Judge{}
}

// bounded is j, or the zero Judge where any length will do.
func (j Judge) bounded() Judge {
	if j.length <= 0 {
		return Judge{}
	}
	return j
}

// split cuts "timestamp(3) with time zone" into its name and its modifiers.
func split(declared string) (name string, mods []int, ok bool) {
	name = strings.TrimPrefix(declared, "pg_catalog.")
	if strings.HasSuffix(name, "]") || strings.Contains(name, `"`) {
		return "", nil, false
	}
	open := strings.IndexByte(name, '(')
	if open < 0 {
		return name, nil, true
	}
	inside, rest, closed := strings.Cut(name[open+1:], ")")
	if !closed {
		return "", nil, false
	}
	for _, word := range strings.Split(inside, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return "", nil, false
		}
		mods = append(mods, n)
	}
	return strings.TrimSpace(name[:open]) + rest, mods, true
}

// Any reports whether every text passes.
func (j *Judge) Any() bool { return j.kind == anything }

// Check returns why text can be no value of the type, or nil where it can be,
// or may be.
func (j *Judge) Check(text []byte) *fault.Error {
	switch j.kind {
	case integer:
		return j.integer(text)
	case numeric:
		return j.numeric(text)
	case float:
		return j.float(text)
	case boolean:
		return j.boolean(text)
	case varchar, char:
		return j.characters(text)
	case uuid:
		return j.uuid(text)
	case date, timestamp:
		return j.moment(text)
	case clock:
		return j.clock(text)
	case bytea:
		return j.bytea(text)
	case jsonText, jsonb:
		return j.json(text)
	case address:
		return j.address(text)
	case bit, varbit:
		return j.bitString(text)
	}
	return nil
}

// syntax is the fault of a text that is not written as the type's values are.
func (j *Judge) syntax(text []byte) *fault.Error {
	return fault.New(fault.InvalidTextRepr, `invalid input syntax for type %s: "%s"`, j.name, shown(text))
}

// shownBytes bounds how much of a value a message repeats.
const shownBytes = 256

// shown is text as a message repeats it.
func shown(text []byte) string {
	if len(text) <= shownBytes {
		return string(text)
	}
	cut := shownBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return string(text[:cut]) + "..."
}

// isSpace is C's isspace in every locale that PostgreSQL runs in with UTF-8.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// trim cuts white space from both ends.
func trim(text []byte) []byte {
	for len(text) > 0 && isSpace(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && isSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func isDigit(c byte) bool { return c-'0' < 10 }

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
