// Package fault is the form in which Holdfast refuses something: an SQLSTATE,
// what was wrong with which value, and what to do about it.
//
// Every door speaks from it: the PostgreSQL wire sends the fields as they are,
// HTTP maps the SQLSTATE to a status. Imports nothing of the project.
package fault

import (
	"errors"
	"fmt"
)

// SQLSTATEs in use, named as in PostgreSQL's Appendix A.
const (
	ConnectionFailure        = "08006"
	ProtocolViolation        = "08P01"
	FeatureNotSupported      = "0A000"
	CharacterNotInRepertoire = "22021"
	StringTooLong            = "22001"
	NumberOutOfRange         = "22003"
	InvalidDatetime          = "22007"
	DatetimeOutOfRange       = "22008"
	BitLengthMismatch        = "22026"
	InvalidTextRepr          = "22P02"
	InvalidBinaryRepr        = "22P03"
	BadCopyFormat            = "22P04"
	NotNullViolation         = "23502"
	ActiveTransaction        = "25001"
	NoActiveTransaction      = "25P01"
	InFailedTransaction      = "25P02"
	InvalidStatementName     = "26000"
	InvalidCursorName        = "34000"
	InvalidAuthorization     = "28000"
	InvalidPassword          = "28P01"
	SerializationFailure     = "40001"
	OutcomeUnknown           = "40003"
	InsufficientPrivilege    = "42501"
	SyntaxError              = "42601"
	GeneratedAlways          = "428C9"
	UndefinedColumn          = "42703"
	UndefinedTable           = "42P01"
	UndefinedParameter       = "42P02"
	DuplicateColumn          = "42701"
	DuplicateTable           = "42P07"
	DuplicateStatement       = "42P05"
	DatatypeMismatch         = "42804"
	InvalidName              = "42602"
	NameTooLong              = "42622"
	InvalidParameterValue    = "22023"
	UndefinedObject          = "42704"
	DiskFull                 = "53100"
	OutOfMemory              = "53200"
	TooManyConnections       = "53300"
	ConfigurationLimit       = "53400"
	LimitExceeded            = "54000"
	TooManyColumns           = "54011"
	QueryCanceled            = "57014"
	AdminShutdown            = "57P01"
	CannotConnectNow         = "57P03"
	IOError                  = "58030"
	InternalError            = "XX000"
	DataCorrupted            = "XX001"
)

// Error is a refusal. Code and Message are always set; Detail, when set, says
// more of what was wrong, Hint what to do. Err is the cause, for errors.Is and
// errors.As.
type Error struct {
	Code    string
	Message string
	Detail  string
	Hint    string
	Err     error
}

// Error returns the message, the cause, the detail and the hint in one line.
func (e *Error) Error() string {
	s := e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	if e.Hint != "" {
		s += " (hint: " + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error; args are formatted into message.
func New(code, message string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(message, args...)}
}

// WithHint returns a copy of e that carries the hint.
func (e *Error) WithHint(hint string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(hint, args...)
	return &c
}

// WithDetail returns a copy of e that carries the detail.
func (e *Error) WithDetail(detail string, args ...any) *Error {
	c := *e
	c.Detail = fmt.Sprintf(detail, args...)
	return &c
}

// Because returns a copy of e that carries its cause.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Of returns err as an *Error: err itself where it is (or wraps) one, else an
// InternalError around it. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalError, Message: "internal error", Err: err}
}

// Code returns the SQLSTATE of err, "" where it carries none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Unwritten says that a small file of the data directory could not be replaced,
// so that what was asked for was not done; full is whether for want of room.
func Unwritten(name string, full bool, cause error) *Error {
	if full {
		return New(DiskFull, "the disk is full, so %s cannot be written; nothing was changed", name).Because(cause).
			WithHint("make room on the volume of the data directory")
	}
	return New(IOError, "%s cannot be written; nothing was changed", name).Because(cause).
		WithHint("see that the data directory can be written")
}
