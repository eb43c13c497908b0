package mywire

import (
	"errors"
	"fmt"

	"holdfast/internal/fault"
)

// refusal is an error with MySQL's own number, where the SQLSTATE does not say
// which one it is.
type refusal struct {
	number uint16
	state  string
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(number uint16, state, text string, args ...any) error {
	return &refusal{number: number, state: state, text: fmt.Sprintf(text, args...)}
}

// MySQL's numbers of errors, as its manual names them.
const (
	erAccessDenied     = 1045
	erParse            = 1064
	erUnknownCommand   = 1047
	erNonUniqTable     = 1110 // ER_FIELD_SPECIFIED_TWICE
	erWrongValueCount  = 1136
	erUnknownVariable  = 1193
	erAccessGlobal     = 1227
	erWrongValueForVar = 1231
	erNotSupportedYet  = 1235
	erUnknownHandler   = 1243
	erOptionPrevents   = 1290
	erUnknownZone      = 1298
	erNoSavepoint      = 1305
	erTooManyPrepared  = 1461
	erReadOnlyTx       = 1792
	erMalformedPacket  = 1835
)

type numbered struct {
	number uint16
	state  string
}

// numbers are MySQL's errors for SQLSTATEs of PostgreSQL.
var numbers = map[string]numbered{
	fault.UndefinedTable:           {1146, "42S02"},
	fault.UndefinedColumn:          {1054, "42S22"},
	fault.DuplicateColumn:          {1110, "42000"},
	"23505":                        {1062, "23000"},
	fault.NotNullViolation:         {1048, "23000"},
	fault.SyntaxError:              {erParse, "42000"},
	fault.FeatureNotSupported:      {erNotSupportedYet, "42000"},
	fault.InvalidPassword:          {erAccessDenied, "28000"},
	fault.InvalidAuthorization:     {erAccessDenied, "28000"},
	fault.InsufficientPrivilege:    {1142, "42000"},
	fault.CharacterNotInRepertoire: {1366, "HY000"},
	fault.InvalidTextRepr:          {1366, "HY000"},
	fault.NumberOutOfRange:         {1264, "22003"},
	fault.StringTooLong:            {1406, "22001"},
	fault.InvalidDatetime:          {1292, "22007"},
	fault.DatetimeOutOfRange:       {1292, "22007"},
	fault.NameTooLong:              {1059, "42000"},
	fault.InvalidName:              {1059, "42000"},
	fault.DiskFull:                 {1114, "HY000"},
	fault.OutOfMemory:              {1041, "HY000"},
	fault.TooManyConnections:       {1040, "08004"},
	fault.LimitExceeded:            {1153, "08S01"},
	fault.ConfigurationLimit:       {1153, "08S01"},
	fault.TooManyColumns:           {1117, "HY000"},
	fault.SerializationFailure:     {1213, "40001"},
	fault.AdminShutdown:            {1053, "08S01"},
	fault.CannotConnectNow:         {1053, "08S01"},
	fault.ConnectionFailure:        {1159, "08S01"},
	fault.ProtocolViolation:        {1156, "08S01"},
	fault.IOError:                  {1030, "HY000"},
	fault.GeneratedAlways:          {3105, "HY000"},
	fault.DatatypeMismatch:         {1366, "HY000"},
	fault.InvalidParameterValue:    {1231, "42000"},
}

// told returns the number, the SQLSTATE and the words that a client gets for
// err. MySQL's errors have no hint of their own: it stands behind the words.
func told(err error) (number uint16, state, text string) {
	var r *refusal
	if errors.As(err, &r) {
		return r.number, r.state, r.text
	}
	f := fault.Of(err)
	n, ok := numbers[f.Code]
	if !ok {
		n = numbered{1105, "HY000"}
	}
	text = f.Message
	if f.Detail != "" {
		text += " (" + f.Detail + ")"
	}
	if f.Hint != "" {
		text += " (hint: " + f.Hint + ")"
	}
	return n.number, n.state, text
}

const insertOnly = "this is an insert-only database: send INSERT here, and everything else to the database behind it"

// notHere refuses a statement that is not an INSERT.
func notHere(what string) error {
	return refuse(erOptionPrevents, "HY000", "%s is not taken (hint: %s)", what, insertOnly)
}

// notYet refuses a part of a statement.
func notYet(what, hint string) error {
	return refuse(erNotSupportedYet, "42000", "%s (hint: %s)", what, hint)
}

var errMalformed = refuse(erMalformedPacket, "HY000", "malformed communication packet")

// maxTold bounds the words of an error, of which parts come from the client.
const maxTold = 1 << 10

// fail puts an error packet.
func (s *session) fail(err error) {
	number, state, text := told(err)
	if len(text) > maxTold {
		text = text[:maxTold] + "..."
	}
	s.srv.stats.failed.Add(1)
	b := append([]byte{0xff, byte(number), byte(number >> 8), '#'}, state...)
	s.in.put(append(b, text...))
}
