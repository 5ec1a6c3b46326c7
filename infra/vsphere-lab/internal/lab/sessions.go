package lab

import (
	"context"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Session is an open login of a SOAP client.
type Session struct {
	Key       string `json:"key"`
	User      string `json:"user"`
	UserAgent string `json:"userAgent"`
}

// Sessions lists the logins that are open.
func (l *Lab) Sessions() []Session {
	out := []Session{}
	for _, s := range l.sessionView().SessionList {
		out = append(out, Session{s.Key, s.UserName, s.UserAgent})
	}
	return out
}

// ExpireSessions ends all logins, as idle time does: the next call of each
// client answers NotAuthenticated.
func (l *Lab) ExpireSessions() int {
	manager := l.sessionView()
	ctx := &simulator.Context{Map: l.registry, Context: context.Background(), Session: l.ownSession()}
	for _, s := range manager.SessionList {
		manager.TerminateSession(ctx, &types.TerminateSession{SessionId: []string{s.Key}})
	}
	return len(manager.SessionList)
}

// sessionView is the copy of the session manager that the simulator makes for
// a client; only it carries the list.
func (l *Lab) sessionView() *simulator.SessionManager {
	own := l.registry.SessionManager().Self
	view, _ := l.ownSession().Get(own).(*simulator.SessionManager)
	return view
}

func (l *Lab) ownSession() *simulator.Session {
	return &simulator.Session{
		UserSession: types.UserSession{Key: "lab"},
		Registry:    simulator.NewRegistry(),
		Map:         l.registry,
	}
}
