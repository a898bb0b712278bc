package main

import "github.com/spf13/cobra"

// topics are the pages of help that belong to no command: what somebody at a
// terminal needs to write a client, or to let people in.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "protocols", Short: "How clients speak to a server", Long: aboutProtocols},
		{Use: "access", Short: "Who may see what, and who says so", Long: aboutAccess},
	}
}

const aboutProtocols = `A server speaks all of these at each of its addresses:

  ernius         WebSocket /subscribe_to_events, first message {"access_id": "ann", "timestamp": 0}
  airlay         WebSocket /ws, messages {"auth": TOKEN, "action": "attach", "event": {"type": "issueUpdate", "id": "1"}}
  Digital Rebar  WebSocket /api/v3/ws, messages register issueUpdate.*.*
  sysadm         WebSocket / or /sysadm, messages
                 {"namespace": "events", "name": "subscribe", "id": "a", "args": ["system-state"]}
  Events (SSE)   GET /events?topic=issueUpdate.*.*

  publishing     POST /push_events with [{"accessid": "ann", "created_at": 10, "payload": "any JSON"}]
                 POST /api/v3/events with {"Type": "issueUpdate", "Action": "save", "Key": "1", "Object": {}}
  health         GET /livez, GET /readyz

A filter is TYPE.ACTION.KEY; each part is *, a value, or values with commas. An event is one row of notifier.events
and goes out in each protocol that has a subscription for it.

A token comes as 'Authorization: Bearer TOKEN', as '?token=TOKEN', or in the message where it has a place for one.
'notifier dev' prints a line for each protocol that can be pasted into a shell.`

const aboutAccess = `Who a client is, its token says: a JSON Web Token that the server verifies by --jwt-secret, --jwt-public-key,
--jwks-url or --jwks-file, or one that it gave for a name and a password of notifier.users ('notifier user add').
A subscriber must be known as a user. publisher and admin are roles of the token, or of the user's row; who has
them need not be known.

What a user may see, three SQL functions say, which the application may replace:

  notifier.user_exists(user_id)                  is the user known?
  notifier.may_read(user_id, type, dataset_id)   may it read such events?
  notifier.dataset_of(type, key)                 of which dataset is an object that somebody attaches to?

By default they ask the tables notifier.users and notifier.dataset_permissions. An event with a recipient is for that
user, one with a dataset for those who may read it, one with both for the recipient who may, one with neither for
every known user. Admins see all.

A change of the two tables counts from its commit on. An application that asks tables of its own calls
notifier.access_changed(user_id, dataset_id) in the transaction that changes them. 'notifier dev' has an example:
the schema demo of its database.`
