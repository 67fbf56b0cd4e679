require('@acme/timetable').serve(8080)
