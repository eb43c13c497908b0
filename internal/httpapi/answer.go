package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"holdfast/internal/fault"
)

// Refused is a body that was refused: the fault, and where in the body it is.
type Refused struct {
	Line int // from 1; 0 where no line is at fault
	Err  *fault.Error
}

// Error returns the fault's text; whoever shows it puts the line where it fits.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns the fault.
func (r *Refused) Unwrap() error { return r.Err }

// errorBody is the JSON that refuses.
type errorBody struct {
	Error errorFields `json:"error"`
}

type errorFields struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Line    int    `json:"line,omitempty"`
}

func fieldsOf(err error) errorFields {
	f := fault.Of(err)
	out := errorFields{Code: f.Code, Message: f.Message, Hint: f.Hint}
	if f.Err != nil {
		out.Message += ": " + f.Err.Error()
	}
	var r *Refused
	if errors.As(err, &r) {
		out.Line = r.Line
	}
	return out
}

// err turns the fields back into the error that they were made of.
func (e errorFields) err() error {
	f := &fault.Error{Code: e.Code, Message: e.Message, Hint: e.Hint}
	if e.Code == "" {
		f.Code = fault.InternalError
	}
	return &Refused{Line: e.Line, Err: f}
}

// statuses maps SQLSTATEs to HTTP; where a code is missing its class, the
// first two characters, decides.
var statuses = map[string]int{
	"08": http.StatusBadRequest,
	"0A": http.StatusBadRequest,
	"22": http.StatusBadRequest,
	"23": http.StatusBadRequest,
	"42": http.StatusBadRequest,

	fault.InvalidAuthorization:  http.StatusUnauthorized,
	fault.InvalidPassword:       http.StatusUnauthorized,
	fault.InsufficientPrivilege: http.StatusForbidden,
	fault.UndefinedObject:       http.StatusNotFound,
	fault.UndefinedTable:        http.StatusNotFound,
	fault.DiskFull:              http.StatusInsufficientStorage,
	fault.OutOfMemory:           http.StatusServiceUnavailable,
	fault.TooManyConnections:    http.StatusTooManyRequests,
	fault.ConfigurationLimit:    http.StatusTooManyRequests,
	fault.LimitExceeded:         http.StatusRequestEntityTooLarge,
	fault.TooManyColumns:        http.StatusBadRequest,
	fault.SerializationFailure:  http.StatusConflict,
	fault.OutcomeUnknown:        http.StatusServiceUnavailable,
	fault.IOError:               http.StatusServiceUnavailable, // the disk's, and tried again: not the request's
	fault.QueryCanceled:         http.StatusServiceUnavailable,
	fault.AdminShutdown:         http.StatusServiceUnavailable,
	fault.CannotConnectNow:      http.StatusServiceUnavailable,
}

func statusOf(f *fault.Error) int {
	if s, ok := statuses[f.Code]; ok {
		return s
	}
	if s, ok := statuses[f.Code[:min(2, len(f.Code))]]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// fail answers with err, at the status that its SQLSTATE asks for.
func fail(w http.ResponseWriter, err error) {
	status := statusOf(fault.Of(err))
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		w.Header().Set("Retry-After", "1")
	}
	refuse(w, status, err)
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, errorBody{fieldsOf(err)})
}

// answer writes v as the whole response. A client that has gone away meanwhile
// is nobody's error.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
