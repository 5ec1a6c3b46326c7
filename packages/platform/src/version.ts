/** Version of Hub and Node; they are released together. */
export const VERSION = '0.1.0'
