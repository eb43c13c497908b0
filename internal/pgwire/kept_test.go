package pgwire

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestKept: what a session keeps by name is bounded by all that it takes, not by
// its text alone: by names, declared parameters, values and NULLs, too.
func TestKept(t *testing.T) {
	_, addr := startServer(t, newMemStore(true))
	long := strings.Repeat("n", 8<<20)
	marks := strings.Repeat("($1),", itemsKept-1) + "($1)"
	declared := make([]uint32, maxParams)
	for _, c := range []struct {
		name string
		most int // how many are refused at the latest
		nth  func(i int) pgproto3.FrontendMessage
	}{
		{"names", 9, func(i int) pgproto3.FrontendMessage { return parse(fmt.Sprint(i, long), "select 1") }},
		{"declared parameters", 200, func(i int) pgproto3.FrontendMessage { return parse(fmt.Sprint(i), "select 1", declared...) }},
		{"values", 20, func(i int) pgproto3.FrontendMessage {
			return parse(fmt.Sprint(i), "insert into t(a) values "+marks)
		}},
		{"portals of NULLs", 20, func(i int) pgproto3.FrontendMessage {
			if i == 0 {
				return parse("s", "insert into t(a) values ($65535)")
			}
			return &pgproto3.Bind{DestinationPortal: fmt.Sprint(i), PreparedStatement: "s", Parameters: make([][]byte, maxParams)}
		}},
		{"names of portals", 20, func(i int) pgproto3.FrontendMessage {
			if i == 0 {
				return parse("s", "select 1")
			}
			return bind(fmt.Sprint(i, long[:1<<20]), "s")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := connect(t, addr)
			k.fe.Send(&pgproto3.Query{String: "begin"}) // portals end with the transaction
			k.until()
			for i := range c.most + 1 {
				k.fe.Send(c.nth(i))
				k.fe.Send(syncMessage)
				if got := k.until(); strings.Contains(got, "ERROR 53200") {
					return
				} else if strings.Contains(got, "ERROR") {
					t.Fatalf("number %d: %s", i, got)
				}
			}
			t.Errorf("%d of them are kept", c.most+1)
		})
	}
}

// TestNumbersOfSessions: numbers begin anew before they would be negative, and
// none is given to two sessions.
func TestNumbersOfSessions(t *testing.T) {
	srv, addr := startServer(t, newMemStore(true))
	first := connect(t, addr)
	srv.mu.Lock()
	srv.lastPID = math.MaxInt32 - 1
	srv.mu.Unlock()
	last, next := connect(t, addr), connect(t, addr)
	if first.pid != 1 || last.pid != math.MaxInt32 || next.pid != 2 {
		t.Errorf("they have the numbers %d, %d and %d", first.pid, last.pid, next.pid)
	}
}
