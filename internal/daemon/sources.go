package daemon

import (
	"holdfast"
	"holdfast/internal/httpapi"
)

// Position implements httpapi.SourceKeeper.
func (a admin) Position(source string) (string, error) { return a.db.Position(source) }

// Move implements httpapi.SourceKeeper.
func (a admin) Move(m httpapi.Move) error { return a.db.MoveSource(holdfast.Move(m)) }

// Moving implements httpapi.SourceKeeper.
func (a admin) Moving(m httpapi.Move) httpapi.Store {
	in := new(intake)
	if a.server != nil {
		in = &a.server.intakes.http
	}
	return moving{webStore{a.db, in}, holdfast.Move(m)}
}

// moving is a database whose transactions move a source.
type moving struct {
	webStore
	move holdfast.Move
}

// Begin implements httpapi.Store.
func (s moving) Begin() httpapi.Tx { return s.in.begin(s.BeginMove(s.move)) }
