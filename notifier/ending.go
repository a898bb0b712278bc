package notifier

// Ending says why a connection ends. Its text is at once the log attribute and
// the metric label; each protocol translates it to its own close code in one
// table.
type Ending string

// The reasons for which the server ends a connection.
const (
	EndedByClient    Ending = "client"           // the client closed it, or its socket broke
	EndedByDrop      Ending = "dropped"          // drop_user
	EndedBySlowness  Ending = "slow_client"      // its socket takes nothing, for too long
	EndedByRetention Ending = "behind_retention" // what comes next for it is not stored any more
	EndedBySilence   Ending = "no_pong"          // its socket took and gave no byte since the last ping
	EndedByDeadline  Ending = "no_first_message" // it did not say in time what it wants
	EndedByProtocol  Ending = "protocol_error"   // its first message was not understood
	EndedByTrickle   Ending = "slow_message"     // a message of it took too long to arrive
	EndedByCrowd     Ending = "crowded"          // its user has too many connections
	EndedByExpiry    Ending = "token_expired"    // what it rests on has expired, and its protocol has no words for that
	EndedByAccess    Ending = "unauthorized"     // it may not have what it wants
	EndedByLimit     Ending = "too_much"         // it wants more at once than one connection may, and its protocol has no words for that
	EndedByNoLogin   Ending = "no_login"         // it did not log in in time, where its protocol asks for that
	EndedByIdleness  Ending = "idle"             // it has said nothing for longer than its protocol allows
	EndedByThrottle  Ending = "login_throttled"  // it has failed to log in too often
	EndedByShutdown  Ending = "shutdown"         // the server stops
	EndedByOutage    Ending = "unavailable"      // what it needs of the database can't be had now; it should try again
)
