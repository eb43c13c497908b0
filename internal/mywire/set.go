package mywire

import (
	"strconv"
	"strings"
	"time"
)

// variables are the system variables that clients ask for or set, with what
// they show. Most mean nothing here: setting them changes nothing.
var variables = map[string]string{
	"autocommit": "", "time_zone": "", "system_time_zone": "", // of the session, see variableOf
	"version": serverVersion, "version_comment": "Holdfast: insert-only", "license": "BSD",
	"max_allowed_packet": strconv.Itoa(maxPacket), "net_buffer_length": "16384", "lower_case_table_names": "0",
	"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4", "character_set_results": "utf8mb4",
	"character_set_server": "utf8mb4", "character_set_database": "utf8mb4", "character_set_system": "utf8mb3",
	"collation_connection": "utf8mb4_general_ci", "collation_server": "utf8mb4_general_ci", "collation_database": "utf8mb4_general_ci",
	"sql_mode": "STRICT_TRANS_TABLES", "auto_increment_increment": "1", "auto_increment_offset": "1",
	"init_connect": "", "interactive_timeout": "28800", "wait_timeout": "28800", "net_write_timeout": "60", "net_read_timeout": "60",
	"performance_schema": "0", "query_cache_size": "0", "query_cache_type": "OFF", "have_query_cache": "NO",
	"tx_isolation": "READ-COMMITTED", "transaction_isolation": "READ-COMMITTED", "tx_read_only": "0", "transaction_read_only": "0",
	"sql_safe_updates": "0", "sql_select_limit": "18446744073709551615", "max_join_size": "18446744073709551615",
	"foreign_key_checks": "1", "unique_checks": "1", "sql_notes": "1", "sql_auto_is_null": "0", "sql_log_bin": "1", "sql_quote_show_create": "1",
	"lock_wait_timeout": "86400", "innodb_lock_wait_timeout": "50", "session_track_schema": "0", "session_track_system_variables": "",
	"ssl_cipher": "", "warning_count": "0", "error_count": "0", "read_only": "0", "default_storage_engine": "InnoDB", "storage_engine": "InnoDB",
	"information_schema_stats_expiry": "0", "group_concat_max_len": "1024", "optimizer_switch": "", "insert_id": "0", "timestamp": "0",
	"max_statement_time": "0", "max_execution_time": "0", "profiling": "0", "big_tables": "0", "old_mode": "", "identity": "0",
}

// fixed are the variables that cannot be set.
var fixed = map[string]bool{
	"version": true, "version_comment": true, "license": true, "max_allowed_packet": true, "lower_case_table_names": true, "read_only": true,
	"system_time_zone": true, "timestamp": true, "insert_id": true,
}

// variableOf returns what a system variable shows.
func (s *session) variableOf(name string) (string, bool) {
	switch name {
	case "autocommit":
		if s.autocommit {
			return "1", true
		}
		return "0", true
	case "time_zone":
		return s.zoneName, true
	case "system_time_zone":
		return s.srv.o.Zone.String(), true
	}
	v, ok := variables[name]
	return v, ok
}

// set reads what is behind SET.
func (s *session) set(l *lexer) error {
	if done, err := s.setTransaction(l); done || err != nil {
		return err
	}
	var assignments []assignment
	for {
		a, err := l.assignment()
		if err != nil {
			return err
		}
		if err := s.check(a); err != nil {
			return err
		}
		assignments = append(assignments, a)
		if !l.punct(',') {
			break
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	for _, a := range assignments {
		if err := s.assign(a); err != nil {
			return err
		}
	}
	s.ok(0, 0)
	return nil
}

// setTransaction reads "[SESSION] TRANSACTION ...". There is nothing to read
// here, so every isolation level holds by itself.
func (s *session) setTransaction(l *lexer) (bool, error) {
	at := l.pos
	_ = l.keyword("session") || l.keyword("local")
	if !l.keyword("transaction") {
		l.pos = at
		return false, nil
	}
	for {
		switch {
		case l.keywords("isolation", "level"):
			if !l.keyword("serializable") && !l.keywords("repeatable", "read") && !l.keywords("read", "committed") && !l.keywords("read", "uncommitted") {
				return false, l.syntax()
			}
		case l.keywords("read", "write"):
		case l.keywords("read", "only"):
			return false, notYet("SET TRANSACTION READ ONLY is not taken", "send START TRANSACTION READ ONLY")
		default:
			return false, l.syntax()
		}
		if !l.punct(',') {
			break
		}
	}
	if err := l.end(); err != nil {
		return false, err
	}
	s.ok(0, 0)
	return true, nil
}

// assignment is one "name = value" of SET; mine is a variable of the client's
// own, which nobody reads here.
type assignment struct {
	name, value string
	mine        bool
}

func (l *lexer) assignment() (a assignment, err error) {
	switch {
	case l.keyword("names"):
		return l.charset("names")
	case l.keywords("character", "set"), l.keyword("charset"):
		return l.charset("names")
	case l.keyword("global"), l.keyword("persist"), l.keyword("password"):
		return a, refuse(erAccessGlobal, "42000", "Access denied; only variables of the session can be set (hint: the server's settings stand in its configuration)")
	case l.keyword("session"), l.keyword("local"):
	}
	switch {
	case l.at(0) == '@' && l.at(1) == '@':
		l.pos += 2
		if l.keyword("global") {
			return a, refuse(erAccessGlobal, "42000", "Access denied; only variables of the session can be set")
		}
	case l.at(0) == '@':
		l.pos++
		a.mine = true
	}
	if a.name, err = l.variable(); err != nil {
		return a, err
	}
	l.punct(':')
	if !l.punct('=') {
		return a, l.syntax()
	}
	a.value, err = l.setting()
	return a, err
}

// charset reads "utf8mb4 [COLLATE name]".
func (l *lexer) charset(name string) (a assignment, err error) {
	a.name = name
	if a.value, err = l.setting(); err == nil && l.keyword("collate") {
		_, err = l.setting()
	}
	return a, err
}

// setting reads the value of a variable.
func (l *lexer) setting() (string, error) {
	switch c := l.at(0); {
	case c == '\'' || c == '"':
		var scratch []byte
		text, err := l.quoted(&scratch)
		return string(text), err
	case isDigit(c), c == '-':
		text, err := l.number()
		return string(text), err
	case c == '@':
		for l.at(0) == '@' {
			l.pos++
		}
		_, err := l.variable()
		return "@", err
	}
	return l.name()
}

// check refuses a setting that would make values mean something else.
func (s *session) check(a assignment) error {
	value := strings.ToLower(a.value)
	switch {
	case a.mine || a.value == "@":
		return nil
	case a.name == "names", strings.HasPrefix(a.name, "character_set_"):
		switch value {
		case "utf8", "utf8mb3", "utf8mb4", "binary", "default", "null":
			return nil
		}
		return notYet("the character set "+clip([]byte(a.value))+" is not taken", "text is taken as UTF-8 only: SET NAMES utf8mb4 and convert in the client")
	case a.name == "sql_mode":
		for _, mode := range []string{"no_backslash_escapes", "ansi", "db2", "mssql", "oracle", "postgresql"} {
			if strings.Contains(value, mode) {
				return notYet("the sql_mode "+clip([]byte(a.value))+" is not taken", "it changes what quotes and backslashes mean; leave it out")
			}
		}
		return nil
	case a.name == "time_zone":
		_, err := zoneOf(a.value, s.srv.o.Zone)
		return err
	case a.name == "autocommit":
		if _, ok := truth(value); !ok {
			return refuse(erWrongValueForVar, "42000", "Variable 'autocommit' can't be set to the value of '%s'", clip([]byte(a.value)))
		}
		return nil
	}
	if _, known := variables[a.name]; !known {
		return refuse(erUnknownVariable, "HY000", "Unknown system variable '%s'", clip([]byte(a.name)))
	}
	if fixed[a.name] {
		return refuse(1238, "HY000", "Variable '%s' is a read only variable", a.name)
	}
	return nil
}

// assign does what was checked.
func (s *session) assign(a assignment) error {
	switch {
	case a.mine || a.value == "@":
	case a.name == "time_zone":
		zone, err := zoneOf(a.value, s.srv.o.Zone)
		if err != nil {
			return err
		}
		s.zone, s.zoneName = zone, a.value
	case a.name == "autocommit":
		on, _ := truth(strings.ToLower(a.value))
		if on && !s.autocommit { // which ends the transaction, as in MySQL
			if err := s.commit(); err != nil {
				return err
			}
		}
		s.autocommit = on
	}
	return nil
}

func truth(v string) (on, ok bool) {
	switch v {
	case "1", "on", "true", "default":
		return true, true
	case "0", "off", "false":
		return false, true
	}
	return false, false
}

// zoneOf returns a zone by its name, or by its offset as MySQL writes it.
func zoneOf(v string, system *time.Location) (*time.Location, error) {
	wrong := refuse(erUnknownZone, "HY000", "Unknown or incorrect time zone: '%s' (hint: name a zone like 'Europe/Berlin', an offset like '+02:00', or SYSTEM)", clip([]byte(v)))
	switch {
	case strings.EqualFold(v, "system"), strings.EqualFold(v, "default"):
		return system, nil
	case strings.EqualFold(v, "utc"):
		return time.UTC, nil
	case v == "" || strings.EqualFold(v, "local"):
		return nil, wrong
	}
	if v[0] == '+' || v[0] == '-' {
		hours, minutes, ok := strings.Cut(v[1:], ":")
		h, err1 := strconv.ParseUint(hours, 10, 8)
		m, err2 := strconv.ParseUint(minutes, 10, 8)
		offset := int(h*3600 + m*60)
		if !ok || err1 != nil || err2 != nil || m > 59 || len(minutes) != 2 || offset > 14*3600 {
			return nil, wrong
		}
		if v[0] == '-' {
			offset = -offset
		}
		return time.FixedZone(v, offset), nil
	}
	zone, err := time.LoadLocation(v)
	if err != nil {
		return nil, wrong
	}
	return zone, nil
}
