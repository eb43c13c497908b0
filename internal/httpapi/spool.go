package httpapi

import (
	"context"
	"net/http"
	"net/url"

	"holdfast/internal/fault"
)

// Partition is one directory of a spool.
type Partition struct {
	Dir       string `json:"dir"`
	Intake    bool   `json:"intake"`          // new files go here
	Mounted   bool   `json:"mounted"`         // a volume must be mounted there
	Maildir   bool   `json:"maildir"`         // files are complete in directories called new
	State     string `json:"state,omitempty"` // as a source's; "away": it is not mounted
	Files     int    `json:"files"`           // that wait
	LastError string `json:"last_error,omitempty"`
}

// Switched is what a switch has done.
type Switched struct {
	Source string `json:"source"`
	From   string `json:"from"` // is drained from now on
	To     string `json:"to"`   // takes new files
}

// SpoolKeeper is implemented by an Admin that has spools.
type SpoolKeeper interface {
	// SwitchSpool lets the spare of a source take new files.
	SwitchSpool(source string) (Switched, error)
}

var errNoSpools = fault.New(fault.CannotConnectNow, "no server runs here that has spools").WithHint("start it with holdfast serve")

// switchSpool is POST /v1/spools/{source}/switch.
func (a *API) switchSpool(w http.ResponseWriter, r *http.Request) {
	k, ok := a.o.Admin.(SpoolKeeper)
	if !ok {
		fail(w, errNoSpools)
		return
	}
	done, err := k.SwitchSpool(r.PathValue("source"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, done)
}

// SwitchSpool lets the spare of a source take new files.
func (c *Client) SwitchSpool(ctx context.Context, source string) (done Switched, err error) {
	err = c.get(ctx, http.MethodPost, "/v1/spools/"+url.PathEscape(source)+"/switch", &done)
	return done, err
}
